//! `[sysctl]`.

use super::refused;
use crate::config::parse;
use crate::model::sysctl::{Sysctl, SysctlValue};

#[test]
fn sysctls_by_name() {
    let text = "
        [sysctl]
        expire_nodest_conn = 1
        drop_entry = 1
        conn_reuse_mode = 3
        # The defaults of what there is not.
        pmtu_disc = 1
        sync_threshold = \"3 50\"
    ";
    let config = parse(text, "lbd.toml").unwrap();
    let expected = [(Sysctl::ConnReuseMode, 3), (Sysctl::DropEntry, 1), (Sysctl::ExpireNodestConn, 1)];
    assert_eq!(config.sysctls, expected.map(|(name, value)| SysctlValue { name, value }));
}

#[test]
fn unknown_names_bad_values_and_what_there_is_not() {
    refused(
        "[sysctl]\ndrop_entyr = 1\nsecure_tcp = 4\nsloppy_tcp = true\nconntrack = 1\nsync_version = 0\namemthresh = 99999999999999999999\n",
        r"
error: unknown key `drop_entyr` of the sysctls
 --> lbd.toml:2:1
  |
2 | drop_entyr = 1
  | ^^^^^^^^^^
  |
  = help: did you mean `drop_entry`?

error: secure_tcp must be a whole number from 0 to 3
 --> lbd.toml:3:14
  |
3 | secure_tcp = 4
  |              ^
  |
  = help: secure_tcp: TCP states by the stricter table; 0 never, 1 while memory is short (then shown as 2), 3 always

error: `sloppy_tcp` must be a whole number
 --> lbd.toml:4:14
  |
4 | sloppy_tcp = true
  |              ^^^^ this is true or false
  |
  = help: write it as: sloppy_tcp = 1

error: conntrack is not supported by this version, but for its default 0
 --> lbd.toml:5:1
  |
5 | conntrack = 1
  | ^^^^^^^^^
  |
  = help: XDP runs before netfilter, which sees no balanced packet: filter in front of the director or on the servers

error: sync_version is not supported by this version, but for its default 1
 --> lbd.toml:6:1
  |
6 | sync_version = 0
  | ^^^^^^^^^^^^
  |
  = help: this version does not synchronise connections: a peer that takes over begins without them

error: amemthresh must be a whole number from 0 to 2147483647
 --> lbd.toml:7:14
  |
7 | amemthresh = 99999999999999999999
  |              ^^^^^^^^^^^^^^^^^^^^
  |
  = help: amemthresh: memory is short below so many free pages of the host, or with a connection table more than half full
",
    );
}
