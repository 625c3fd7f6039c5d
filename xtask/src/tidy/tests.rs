//! Bad sources, each with the rule it breaks, and good ones that look similar.

use super::*;

/// The errors of one file as "line: rule".
fn errors(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    check_file(Path::new(path), text, &mut found);
    found.iter().filter(|v| !v.warning).map(|v| format!("{}: {}", v.line, v.rule)).collect()
}

#[track_caller]
fn good(path: &str, text: &str) {
    assert_eq!(errors(path, text), Vec::<String>::new(), "{path}");
}

#[track_caller]
fn bad(path: &str, text: &str, line: usize, rule: &str) {
    let found = errors(path, text);
    assert_eq!(found.len(), 1, "{path}: {found:?}");
    assert!(found[0].starts_with(&format!("{line}: ")) && found[0].contains(rule), "{path}: {found:?}");
}

#[test]
fn edges_go_only_downwards() {
    good(
        "lb-user/src/api/request.rs",
        "use crate::model::{ServiceKey, Timeouts};\nuse crate::api::Response;",
    );
    bad(
        "lb-user/src/model/service.rs",
        "//! Words.\nuse crate::api::Request;",
        2,
        "`model` may not use `api`",
    );
    bad(
        "lb-user/src/plan/mod.rs",
        "use crate::{model::Weight,\n  director::State};",
        2,
        "`plan` may not use `director`",
    );
    bad("lb-user/src/cli/mod.rs", "fn f() {\n    crate::bpf::maps::open();\n}", 2, "`cli` may not use `bpf`");
}

#[test]
fn adapters_do_not_know_each_other() {
    good("lb-user/src/netlink/neigh.rs", "use crate::model::Addr;");
    bad("lb-user/src/netlink/neigh.rs", "use crate::bpf::maps;", 1, "`netlink` may not use `bpf`");
    bad("lb-user/src/server/mod.rs", "use crate::director::Event;", 1, "`server` may not use `director`");
    good("lb-user/src/daemon/mod.rs", "use crate::{bpf, netlink::neigh, director::Director};");
}

#[test]
fn a_detour_over_super_is_seen() {
    good("lb-user/src/vrrp/fsm.rs", "use super::packet::Advertisement;\nuse super::super::model::Addr;");
    bad("lb-user/src/vrrp/fsm.rs", "use super::super::plan::MapOp;", 1, "`vrrp` may not use `plan`");
    bad(
        "lb-user/src/health/mod.rs",
        "mod a {\n    use super::super::{api};\n}",
        2,
        "`health` may not use `api`",
    );
    good("lb-user/src/health/mod.rs", "mod a {\n    use super::super::model;\n    use super::b;\n}");
}

#[test]
fn everything_of_the_root_is_no_edge_anybody_may_have() {
    bad("lb-user/src/plan/mod.rs", "use crate::*;", 1, "`plan` may not use `*`");
}

#[test]
fn a_module_outside_the_table_is_told_where_to_go() {
    bad("lb-user/src/misc/mod.rs", "fn f() {}", 1, "`misc` has no place in the layers");
    bad("lb-user/src/misc.rs", "fn f() {}", 1, "`misc` has no place in the layers");
    good("lb-user/src/lib.rs", "pub mod misc;");
}

#[test]
fn crates_with_one_home_stay_there() {
    good("lb-user/src/bpf/loader.rs", "use aya::EbpfLoader;");
    bad("lb-user/src/daemon/mod.rs", "use aya::EbpfLoader;", 1, "`aya::EbpfLoader` is used outside");
    bad("lb-user/src/bin/lbd.rs", "fn main() { let _ = aya::programs::Xdp::NAME; }", 1, "is used outside");
    bad("lb-user/src/wire/arp.rs", "use rtnetlink::Handle;", 1, "`rtnetlink::Handle` is used outside");
    good("lb-user/src/netlink/watch.rs", "use netlink_packet_route::RouteNetlinkMessage;");
    good("lb-user/src/bin/lbadm.rs", "use anyhow::Result;");
    bad("lb-user/src/server/mod.rs", "use anyhow::Result;", 1, "`anyhow::Result` is used outside");
}

#[test]
fn pure_code_knows_no_world() {
    bad("lb-user/src/vrrp/fsm.rs", "use tokio::time::sleep;", 1, "reaches outside from pure code");
    bad(
        "lb-user/src/config/mod.rs",
        "fn f() {\n\n    std::fs::read(\"x\");\n}",
        3,
        "`std::fs::read` reaches outside",
    );
    bad(
        "lb-user/src/director/mod.rs",
        "use std::{collections::BTreeMap, thread};",
        1,
        "`std::thread` reaches outside",
    );
    bad("lb-user/src/vrrp/fsm.rs", "use std::time::Instant;\nfn f() { Instant::now(); }", 2, "reads a clock");
    bad("lb-common/src/conn.rs", "fn f() { core::time::SystemTime::now(); }", 1, "reads a clock");
    bad(
        "lb-user/src/health/fsm.rs",
        "use std::net::{IpAddr, TcpStream};",
        1,
        "`std::net::TcpStream` is a socket",
    );
    good("lb-user/src/health/fsm.rs", "use std::net::IpAddr;\nuse std::time::{Duration, Instant};");
    good("lb-user/src/check/tcp.rs", "use tokio::net::TcpStream;\nfn f() { std::time::Instant::now(); }");
}

#[test]
fn tests_of_pure_code_may_read_clocks_and_files() {
    let text = "#[cfg(test)]\nmod tests {\n    use std::time::Instant;\n    fn f() { Instant::now(); std::fs::read(\"x\"); }\n}";
    good("lb-user/src/vrrp/fsm.rs", text);
    good("lb-user/src/vrrp/tests.rs", "fn f() { std::time::Instant::now(); }");
    good("lb-user/src/config/tests/file.rs", "use std::fs;");
    bad(
        "lb-user/src/vrrp/fsm.rs",
        "#[cfg(not(test))]\nfn f() { std::time::Instant::now(); }",
        2,
        "reads a clock",
    );
    // The attribute holds for one item.
    let text = "#[cfg(test)]\nuse std::{fs, time::Instant};\nfn f() { std::time::Instant::now(); }";
    bad("lb-user/src/vrrp/fsm.rs", text, 3, "reads a clock");
    let text = "#[cfg(test)]\nmod tests;\nfn f() { std::time::Instant::now(); }";
    bad("lb-user/src/vrrp/fsm.rs", text, 3, "reads a clock");
}

#[test]
fn unsafe_has_its_places() {
    let text = "fn f() {\n    unsafe { g() }\n}";
    for path in
        ["lb-ebpf/src/main.rs", "lb-common/src/abi.rs", "lb-user/src/bpf/table.rs", "lb-user/src/wire/arp.rs"]
    {
        good(path, text);
    }
    for path in
        ["lb-common/src/parse.rs", "lb-user/src/daemon/mod.rs", "xtask/src/run.rs", "lb-user/src/bin/lbd.rs"]
    {
        bad(path, text, 2, "unsafe (1 times) outside");
    }
    good("lb-user/src/daemon/mod.rs", "// unsafe\n/* unsafe */ /// unsafe\nconst A: &str = \"unsafe { }\";");
    good("lb-common/src/lib.rs", "#![forbid(unsafe_code)]");
}

#[test]
fn the_kernels_code_has_no_std() {
    bad("lb-common/src/parse.rs", "use std::mem::size_of;", 1, "`std::mem::size_of` in code for the kernel");
    good("lb-common/src/parse.rs", "use core::mem::size_of;\n#[cfg(test)]\nmod tests { use std::vec::Vec; }");
    bad(
        "lb-common/Cargo.toml",
        "[dependencies]\nnetwork-types = \"1\"\nserde = \"1\"\n",
        3,
        "lb-common depends on `serde`",
    );
}

#[test]
fn long_files_are_mentioned_and_too_long_ones_refused() {
    let lines = |count: usize| "// line\n".repeat(count);
    good("lb-user/src/api/mod.rs", &lines(450));
    let mut found = Vec::new();
    check_file(Path::new("lb-user/src/api/mod.rs"), &lines(450), &mut found);
    assert!(found.len() == 1 && found[0].warning, "{found:?}");
    bad("lb-user/src/api/mod.rs", &lines(501), 501, "501 lines");
    bad("lb-user/src/bin/lbd.rs", &lines(61), 61, "a binary has at most 60");
}

#[test]
fn no_registry_is_named() {
    let host = rules::FORBIDDEN_WORDS[0];
    bad("README.md", &format!("See\nhttps://{host}/crates/aya"), 2, "host of a package registry");
    good("Cargo.lock", &format!("source = \"{host}\""));
}

#[test]
fn what_is_no_rust_is_told() {
    bad("lb-user/src/api/mod.rs", "fn f( {", 1, "cannot be read as Rust");
}

#[test]
fn a_violation_shows_place_rule_and_remedy() {
    let mut found = Vec::new();
    check_file(Path::new("lb-user/src/plan/mod.rs"), "use crate::bpf::Maps;", &mut found);
    let text = found[0].to_string();
    assert!(text.starts_with("lb-user/src/plan/mod.rs:1: `plan` may not use `bpf`"), "{text}");
    assert!(text.contains("\n    remedy: "), "{text}");
}

#[test]
fn the_table_only_names_modules_that_it_has() {
    for module in &rules::MODULES {
        for used in module.uses {
            let target = rules::find_module(used).unwrap_or_else(|| panic!("{used} is not in the table"));
            assert_eq!(target.layer, Layer::Pure, "{} uses {used}", module.name);
        }
    }
}
