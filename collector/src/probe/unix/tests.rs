//! Unix sockets that nobody serves, and one whose server has no time.

use std::{path::Path, sync::Arc};

use socket2::{Domain, SockAddr, Socket, Type};

use super::super::rig::{LONG_MS, SHORT_MS, prober_at};
use crate::probe::{Context, Files, Outcome, Policy};

async fn probe(dir: &Path, name: &str, timeout_ms: u64, kind: &str) -> Outcome {
    let policy = Policy::new(&[dir.display().to_string()], &[]).expect("a folder");
    let context: Arc<Context> = Context::new(policy, Files::None).expect("TLS");
    let kind = kind.replace("SOCKET", &dir.join(name).display().to_string());
    prober_at("here", 1, timeout_ms, &kind, &context).expect("a check").run().await
}

const UNIX: &str = r#""unix":{"path":"SOCKET"}"#;
const HTTP: &str = r#""http":{"unix_socket":"SOCKET"}"#;

#[tokio::test]
async fn nobody_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    // Its server is gone, it is not.
    drop(std::os::unix::net::UnixListener::bind(path("stale")).expect("bind"));
    std::fs::write(path("file"), "").expect("written");
    let datagrams = std::os::unix::net::UnixDatagram::bind(path("datagrams")).expect("bind");
    for (name, words) in [
        ("stale", "connection refused"),
        ("file", "connection refused"),
        ("none", "No such file or directory"),
        ("datagrams", "Protocol wrong type for socket"),
    ] {
        for kind in [UNIX, HTTP] {
            let outcome = probe(dir.path(), name, LONG_MS, kind).await;
            let begin = format!("connect to {}: {words}", path(name).display());
            assert!(!outcome.good && outcome.reason.starts_with(&begin), "{}", outcome.reason);
        }
    }
    drop(datagrams);
}

#[tokio::test]
async fn a_full_backlog_is_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("full");
    let address = SockAddr::unix(&path).expect("a path");
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let listener = socket();
    listener.bind(&address).expect("bind");
    listener.listen(1).expect("listen");
    let mut waiting = Vec::new();
    loop {
        let client = socket();
        client.set_nonblocking(true).expect("set");
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    for kind in [UNIX, HTTP] {
        let outcome = probe(dir.path(), "full", SHORT_MS, kind).await;
        let reason = format!("connect to {}: no answer within 200 ms", path.display());
        assert_eq!((outcome.good, outcome.reason), (false, reason));
    }
    // As soon as there is room it is connected.
    let probing = probe(dir.path(), "full", LONG_MS, UNIX);
    let accepting = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        listener.accept().expect("one that waits")
    };
    let (outcome, _accepted) = tokio::join!(probing, accepting);
    assert_eq!((outcome.good, &*outcome.reason), (true, "connected"));
}
