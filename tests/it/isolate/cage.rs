//! What the cage keeps from a handler. Each refusal beside the same deed without the bar.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;

use super::stage::{Told, refused, run, run_as_nobody};

/// Runs as whoever runs the tests, and as a user that owns nothing.
#[track_caller]
fn both(words: &[&str], check: impl Fn(&Told)) {
    check(&run(words));
    check(&run_as_nobody(words));
}

#[track_caller]
fn is_refused(words: &[&str]) {
    both(words, |told| assert!(told.result().contains("refused"), "{words:?} {told:?}"));
}

#[track_caller]
fn is_done(words: &[&str], result: &str) {
    both(words, |told| assert_eq!(told.result(), result, "{words:?}"));
}

/// A file and a directory anybody may use, were it not for the cage.
fn place() -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path(), open).expect("open to all");
    std::fs::write(place.path().join("secret"), "four").expect("written");
    let path = place.path().to_str().expect("UTF-8").to_owned();
    (place, path)
}

#[test]
fn files_outside_of_its_paths_are_not_read() {
    is_refused(&["read", "word=/etc/shadow"]);
    let (_place, path) = place();
    let (word, read) = (format!("word={path}/secret"), format!("read={path}"));
    is_refused(&["read", &word]);
    is_done(&["read", &word, &read], "read 4");
    if rustix::process::getuid().is_root() {
        let told = run(&["read", "word=/etc/shadow", "read=/etc/shadow"]);
        assert!(told.result().starts_with("read "), "{told:?}");
    }
}

#[test]
fn files_outside_of_its_paths_are_not_written() {
    let (_place, path) = place();
    let word = |name: &str| format!("word={path}/{name}");
    let (read, write) = (format!("read={path}"), format!("write={path}"));
    is_refused(&["write", &word("a")]);
    is_refused(&["write", &word("a"), &read]);
    // Each with files of its own: what one made the other may not write.
    for who in ["root", "nobody"] {
        let run = |words: &[&str]| if who == "root" { run(words) } else { run_as_nobody(words) };
        let word = |name: &str| word(&format!("{name}-{who}"));
        assert_eq!(run(&["write", &word("b"), &write]).result(), "written");
        let told = run(&["fill", &word("c"), &write, "file_size=2097152"]);
        assert_eq!(told.class(), "signal(25)");
        let told = run(&["fill", &word("d"), &write, "file_size=99999999"]);
        assert_eq!(told.result(), "64 MiB");
    }
}

#[test]
fn nobody_is_reached_over_the_network() {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let (tcp, udp) = (tcp.expect("a listener"), udp.expect("a socket"));
    let tcp = format!("word={}", tcp.local_addr().expect("an address"));
    is_refused(&["tcp", &tcp]);
    is_refused(&["tcp", &tcp, "network=unix"]);
    is_done(&["tcp", &tcp, "network=all"], "connected");
    let word = format!("word={}", udp.local_addr().expect("an address"));
    is_refused(&["udp", &word]);
    is_done(&["udp", &word, "network=all"], "sent");
    is_refused(&["unix"]);
    is_done(&["unix", "network=unix"], "made");
    let (_place, path) = place();
    let mailbox = UnixDatagram::bind(format!("{path}/mailbox")).expect("bound");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(format!("{path}/mailbox"), open).expect("open to all");
    let word = format!("word={path}/mailbox");
    is_refused(&["letter", &word]);
    mailbox.set_nonblocking(true).expect("set");
    assert!(mailbox.recv(&mut [0]).is_err(), "nothing came");
    is_done(&["letter", &word, "network=unix"], "sent");
    assert_eq!(mailbox.recv(&mut [0]).expect("came"), 1);
}

#[test]
fn files_keep_their_modes_owners_attributes_and_times() {
    let (_place, path) = place();
    let secret = format!("{path}/secret");
    let (word, write) = (format!("word={secret}"), format!("write={path}"));
    let nothing = "mode false, owner false, attribute false, times false";
    let own = |who: &str| format!("word={path}/{who}");
    for processes in ["processes=1", "processes=16"] {
        // Nor where it may write: no rule tells one path from another.
        assert_eq!(run(&["meddle", &word, processes]).result(), nothing);
        assert_eq!(run(&["meddle", &word, &write, processes]).result(), nothing);
        let own = own(&format!("nobody-{processes}"));
        let told = run_as_nobody(&["meddle_own", &own, &write, processes]);
        assert_eq!(told.result(), "mode true, times true");
    }
    let all = "mode true, owner true, attribute true, times true";
    assert_eq!(run(&["meddle", &word, "metadata"]).result(), all, "it is trusted with them");
    if rustix::process::getuid().is_root() {
        // Else a file of the system that it may read would do as well.
        let told = run(&["meddle_own", &own("root"), &write]);
        assert_eq!(told.result(), "mode false, times true");
    }
    assert_eq!(run(&["meddle", &word, "inplace"]).result(), all);
}

#[test]
fn nothing_is_made_that_no_limit_of_its_own_counts() {
    is_done(&["hoard"], "memory false, watch false");
    is_done(&["hoard", "processes=16"], "memory false, watch false");
    assert_eq!(run(&["hoard", "inplace"]).result(), "memory true, watch true");
    let told = run_as_nobody(&["core"]);
    assert!(["Some(0)", "Some(1)"].contains(&told.result()), "{told:?}");
    if rustix::process::getuid().is_root() {
        assert_eq!(run(&["core"]).result(), "Some(1)");
        assert_eq!(run(&["core", "processes=16"]).result(), "Some(1)");
    }
}

#[test]
fn it_cannot_shake_off_its_end() {
    both(&["outlive"], |told| {
        assert!(told.result().starts_with("asked false, refused: "), "{told:?}");
    });
    // The control, where a keeper finds it whatever it becomes.
    both(&["outlive", "processes=16"], |told| assert_eq!(told.class(), "exit(0)"));
}

#[test]
fn no_process_is_started_unless_allowed() {
    is_refused(&["bomb", "word=500"]);
    both(&["bomb", "word=500"], |told| {
        assert!(told.result().starts_with("0 started"), "{told:?}");
    });
    // Threads of its user are counted by the kernel, so the limit holds from some number on.
    let told = run_as_nobody(&["bomb", "word=500", "processes=8"]);
    assert!(told.result().contains("then refused"), "{told:?}");
    assert!(!told.result().starts_with("0 started"), "{told:?}");
    is_done(&["bomb", "word=3", "processes=64"], "3 started");
}

#[test]
fn nothing_of_the_worker_is_inherited_or_in_reach() {
    let (_place, path) = place();
    let secret = format!("secret={path}/secret");
    both(&["own", &secret], |told| {
        let own = told.result();
        assert!(own.starts_with("0 variables") && !own.contains("secret"), "{own}");
        assert!(!own.contains("socket:") && !own.contains("anon_inode"), "{own}");
    });
    let own = run(&["own", &secret, "inplace"]);
    assert!(own.result().contains("/secret") && !own.result().starts_with("0 "), "{own:?}");
    let nothing = "environ false, signal false, limit false, priority false, cores false";
    is_done(&["parent"], nothing);
    is_done(&["parent", "processes=16"], nothing);
    let told = run(&["parent", "inplace"]);
    assert!(
        told.result().ends_with("signal true, limit true, priority true, cores true"),
        "{told:?}"
    );
}

#[test]
fn what_the_system_lacks_is_told_or_an_error() {
    // Nothing is lacking for a handler that starts no process, on the systems these tests are for.
    assert_eq!(run(&["fine", "required"]).0["lacks"], serde_json::json!([]));
    // Of one that does, its number of processes as root, where no control group can be had: see `crowd`.
    assert_eq!(
        run_as_nobody(&["fine", "processes=4", "required"]).0["lacks"],
        serde_json::json!([])
    );
    for processes in ["processes=1", "processes=4"] {
        // Another kernel would say the same: the handler runs, and one lack is told once.
        let told = run(&["fine", "unfiltered", processes]);
        let lacks = told.0["lacks"].as_array().expect("a list").iter();
        let filters =
            lacks.filter(|lack| lack.as_str().is_some_and(|lack| lack.contains("seccomp")));
        assert_eq!((told.result(), filters.count()), (" 1", 1), "{told:?}");
        assert!(refused(&["fine", "unfiltered", processes, "required"]).contains("seccomp"));
    }
}
