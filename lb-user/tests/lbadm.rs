//! The built lbadm: its names, its options in front, its exit codes, against a socket that plays lbd.

#[cfg(test)]
mod lbadm {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Command, Output};
    use std::thread::{self, JoinHandle};

    use lb_user::api::{Request, Response};
    use lb_user::model::Timeouts;

    const DENIED: &str = "Can't initialize ipvs: Permission denied (you must be root)\n";

    /// Plays lbd of an instance for one connection: gives the requests it got.
    fn lbd(run_dir: &Path, instance: &str) -> JoinHandle<Vec<Request>> {
        let dir = run_dir.join(instance);
        std::fs::create_dir_all(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut requests = Vec::new();
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let request = serde_json::from_str(&line.unwrap()).unwrap();
                let answer = match request {
                    Request::Timeouts => {
                        Response::Timeouts { timeouts: Timeouts { tcp: 1, tcp_fin: 2, udp: 3 } }
                    }
                    _ => Response::Done,
                };
                requests.push(request);
                writeln!(stream, "{}", serde_json::to_string(&answer).unwrap()).unwrap();
            }
            requests
        })
    }

    fn lbadm(name: &str, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbadm"));
        command.arg0(name).args(words.split_whitespace());
        for variable in ["LB_INSTANCE", "LB_RUN_DIR", "LB_BPFFS"] {
            command.env_remove(variable);
        }
        command
    }

    fn text(output: &Output) -> (Option<i32>, &str, &str) {
        let utf8 = |bytes| std::str::from_utf8(bytes).unwrap();
        (output.status.code(), utf8(&output.stdout), utf8(&output.stderr))
    }

    fn is_root() -> bool {
        nix::unistd::Uid::effective().is_root()
    }

    #[test]
    fn a_command_reaches_the_instance_named_in_front_or_in_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().to_str().unwrap();
        let words = "-L --timeout";
        let in_front = lbadm("lbadm", &format!("--instance=a --run-dir {run_dir} {words}"));
        let mut by_environment = lbadm("/usr/sbin/ipvsadm", words);
        by_environment.env("LB_INSTANCE", "b").env("LB_RUN_DIR", run_dir);
        for (instance, mut command) in [("a", in_front), ("b", by_environment)] {
            if !is_root() {
                assert_eq!(text(&command.output().unwrap()), (Some(2), "", DENIED));
                continue;
            }
            let lbd = lbd(dir.path(), instance);
            let output = command.output().unwrap();
            assert_eq!(text(&output), (Some(0), "Timeout (tcp tcpfin udp): 1 2 3\n", ""));
            assert_eq!(lbd.join().unwrap(), [Request::Timeouts]);
        }
    }

    #[test]
    fn subcommands_are_for_everybody_who_may_open_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let lbd = lbd(dir.path(), "default");
        let output = lbadm("lbadm", "list --json").env("LB_RUN_DIR", dir.path()).output().unwrap();
        assert_eq!(text(&output), (Some(0), "[]\n", ""));
        assert_eq!(lbd.join().unwrap(), [Request::Services { key: None }]);

        let output =
            lbadm("lbadm", "status --instance other").env("LB_RUN_DIR", dir.path()).output().unwrap();
        let (code, out, err) = text(&output);
        assert_eq!((code, out), (Some(3), ""));
        assert!(
            err.contains("error: cannot tell the status: lbd of instance other does not answer"),
            "{err}"
        );
        assert!(err.ends_with("hint: start it with: lbd --instance other --interface INTERFACE\n"), "{err}");
    }

    #[test]
    fn the_name_and_the_first_word_choose_the_grammar() {
        let version = |name, words| {
            let output = lbadm(name, words).output().unwrap();
            let (code, out, _) = text(&output);
            assert_eq!(code, Some(0), "{name} {words}");
            out.lines().next().unwrap_or_default().to_owned()
        };
        let own = concat!("lbadm ", env!("CARGO_PKG_VERSION"));
        assert_eq!(version("lbadm", "--version"), own);
        assert_eq!(version("lbadm", "--instance x --version"), own);
        for (name, words) in [("ipvsadm", "--version"), ("lbadm", "-v"), ("/x/ipvsadm-save", "-h")] {
            assert!(version(name, words).starts_with("ipvsadm v1.31 "), "{name} {words}");
        }
        for (name, words, code) in [
            ("lbadm", "", 2),
            ("lbadm", "frob", 2),
            ("lbadm", "--instance", 2),
            ("lbadm", "--instance a.b list", 2),
        ] {
            let output = lbadm(name, words).output().unwrap();
            assert_eq!(text(&output).0, Some(code), "{name} {words}");
        }
        if is_root() {
            let output = lbadm("/somewhere/ipvsadm", "-nL").output().unwrap();
            let help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n";
            assert_eq!(text(&output), (Some(255), "", help));
        }
    }

    #[test]
    fn a_restore_reads_standard_input_over_one_connection() {
        if !is_root() {
            // Who may not is told so before anything is read; the grammar is tested without the binary.
            let output = lbadm("ipvsadm-restore", "").output().unwrap();
            assert_eq!(text(&output), (Some(2), "", DENIED));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let lbd = lbd(dir.path(), "default");
        let rules = dir.path().join("rules");
        std::fs::write(
            &rules,
            "# saved\n-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m\n",
        )
        .unwrap();
        let output = lbadm("ipvsadm-restore", "")
            .env("LB_RUN_DIR", dir.path())
            .stdin(std::fs::File::open(&rules).unwrap())
            .output()
            .unwrap();
        assert_eq!(text(&output), (Some(0), "", ""));
        let requests = lbd.join().unwrap();
        assert!(
            matches!(
                requests.as_slice(),
                [Request::Clear, Request::AddService { .. }, Request::AddDestination { .. }]
            ),
            "{requests:?}"
        );
    }
}
