//! Members of a real etcd, well and not.

use std::{fs, process::Command};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::rig::{LONG_MS, Pki, SHORT_MS, Server, free_port, mute, probe, said, serve};

/// An etcd of one member; `more` goes to its command line.
fn etcd(pki: &Pki, scheme: &str, more: &[&str]) -> (Server, u16) {
    let port = free_port();
    let client = format!("{scheme}://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port());
    let (data, cluster) = (pki.path("data"), format!("default={peer}"));
    let mut args = vec!["--data-dir", &data, "--log-level", "error"];
    args.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    args.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    args.extend(["--initial-cluster", &cluster]);
    args.extend(more);
    (Server::start("etcd", &args, port), port)
}

/// Runs etcdctl; whether it succeeded, and what it printed.
fn etcdctl(port: u16, args: &[&str]) -> (bool, String) {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints=127.0.0.1:{port}")).args(args);
    let output = command.output().expect("etcdctl; `cargo xtask peers` installs it");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until it has elected itself.
async fn elected(port: u16) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !probe(port, LONG_MS, r#""etcd":{}"#).await.good {
        assert!(std::time::Instant::now() < deadline, "it elects nobody");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_member_that_is_well_and_then_full() {
    let pki = Pki::new();
    let (_etcd, port) = etcd(&pki, "http", &["--quota-backend-bytes", "16777216"]);
    elected(port).await;
    let outcome = probe(port, LONG_MS, r#""etcd":{"canary_key":"/canary"}"#).await;
    assert!(outcome.good, "{}", outcome.reason);
    assert!(outcome.reason.contains(" is leader, etcd 3."), "{}", outcome.reason);
    for (name, value) in [
        ("probe_etcd_has_leader", 1.0),
        ("probe_etcd_is_leader", 1.0),
        ("probe_etcd_is_learner", 0.0),
        ("probe_etcd_raft_lag", 0.0),
        ("probe_etcd_alarms", 0.0),
    ] {
        assert_eq!(outcome.fact(name, &[]), Some(value), "{name}");
    }
    assert!(outcome.fact("probe_etcd_db_bytes", &[]).is_some_and(|bytes| bytes > 4096.0));
    assert!(outcome.fact("probe_etcd_duration_seconds", &["canary"]).is_some_and(|s| s > 0.0));
    assert_eq!(etcdctl(port, &["get", "--prefix", "/canary"]), (true, String::new()));
    let (good, reason) = said(port, LONG_MS, r#""etcd":{"db_bytes_max":1}"#).await;
    assert!(!good && reason.contains("bytes, at most 1 expected"), "{reason}");

    // More than it may hold raises the alarm that refuses writes.
    let value = "x".repeat(1 << 20);
    for key in 0..32 {
        let file = pki.path("value");
        fs::write(&file, &value).expect("writes");
        let put = format!("etcdctl --endpoints=127.0.0.1:{port} put key{key} < {file}");
        let mut command = Command::new("sh");
        let output = command.env("ETCDCTL_API", "3").args(["-c", &put]).output().expect("sh");
        if !output.status.success() {
            break;
        }
    }
    let (good, reason) = said(port, LONG_MS, r#""etcd":{}"#).await;
    assert!(!good && reason.contains(": alarm NOSPACE of member "), "{reason}");
    let (good, reason) = said(port, LONG_MS, r#""etcd":{"canary_key":"/canary"}"#).await;
    assert!(!good && reason.starts_with("canary's ") && reason.contains("space"), "{reason}");
}

#[tokio::test]
async fn users_and_tls() {
    let pki = Pki::new();
    let (cert, key) = (pki.path("cert.pem"), pki.path("key.pem"));
    let (_etcd, port) = etcd(&pki, "https", &["--cert-file", &cert, "--key-file", &key]);
    let (unknown, trust) = (r#""etcd":{"tls":{}}"#, pki.trust());
    let (good, reason) = said(port, LONG_MS, unknown).await;
    let expected = "TLS with 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer";
    assert_eq!((good, reason.as_str()), (false, expected));

    let ca = format!("--cacert={cert}");
    let ctl = |args: &[&str]| {
        let args = [&[ca.as_str()], args].concat();
        assert!(etcdctl(port, &args).0, "{args:?}");
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !probe(port, LONG_MS, &format!(r#""etcd":{{"tls":{trust}}}"#)).await.good {
        assert!(std::time::Instant::now() < deadline, "it elects nobody");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ctl(&["user", "add", "root:pass"]);
    ctl(&["auth", "enable"]);
    fs::write(pki.path("password"), "pass\n").expect("writes");
    fs::write(pki.path("wrong"), "word\n").expect("writes");
    let as_root = |file: &str, more: &str| {
        let file = pki.path(file);
        format!(
            r#""etcd":{{"tls":{trust},"username":"root","password":{{"file":"{file}"}}{more}}}"#
        )
    };
    let canary = r#","canary_key":"/canary""#;
    let outcome = probe(port, LONG_MS, &as_root("password", canary)).await;
    assert!(outcome.good, "{}", outcome.reason);
    let (good, reason) = said(port, LONG_MS, &as_root("wrong", canary)).await;
    assert!(
        !good && reason.starts_with("authenticate: etcdserver: authentication failed"),
        "{reason}"
    );
    let (good, reason) = said(port, LONG_MS, &format!(r#""etcd":{{"tls":{trust}{canary}}}"#)).await;
    assert!(!good && reason.contains("user name is empty"), "{reason}");
}

/// Of three members two die: the third knows no leader.
#[tokio::test]
async fn a_member_that_is_left_alone() {
    let pki = Pki::new();
    let member = |name: &'static str| (name, free_port(), free_port());
    let members = ["a", "b", "c"].map(member);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster = members.map(|(name, _, peer)| format!("{name}={}", url(peer))).join(",");
    let start = |(name, client, peer): (&str, u16, u16)| {
        let (data, client, peer) = (pki.path(name), url(client), url(peer));
        let mut args = vec!["--name", name, "--data-dir", &data, "--log-level", "error"];
        args.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        args.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        args.extend(["--initial-cluster", &cluster]);
        Server::spawn("etcd", &args)
    };
    let mut servers: Vec<Server> = members.into_iter().map(start).collect();
    for (server, (_, port, _)) in servers.iter_mut().zip(members) {
        server.wait(port);
        elected(port).await;
    }
    let mut leaders = 0.0;
    for (_, port, _) in members {
        let outcome = probe(port, LONG_MS, r#""etcd":{"canary_key":"canary"}"#).await;
        assert!(outcome.good, "{}", outcome.reason);
        leaders += outcome.fact("probe_etcd_is_leader", &[]).expect("a fact");
    }
    assert!((leaders - 1.0).abs() < f64::EPSILON, "{leaders} leaders");
    servers.truncate(1);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let outcome = probe(members[0].1, 1000, r#""etcd":{}"#).await;
        if outcome.reason.ends_with(" knows no leader") {
            assert_eq!(outcome.fact("probe_etcd_has_leader", &[]), Some(0.0));
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{}", outcome.reason);
    }
}

#[tokio::test]
async fn ways_to_fail() {
    let http1 = serve(|mut stream: TcpStream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let resets = serve(|mut stream: TcpStream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.set_zero_linger();
    })
    .await;
    for (port, timeout_ms, reason) in [
        (free_port(), LONG_MS, "connect to 127.0.0.1:PORT: connection refused"),
        (mute().await, SHORT_MS, "no answer within 200 ms"),
    ] {
        assert_eq!(said(port, timeout_ms, r#""etcd":{}"#).await, (false, reason.to_owned()));
    }
    for port in [http1, resets] {
        let (good, reason) = said(port, LONG_MS, r#""etcd":{}"#).await;
        assert!(!good && reason.starts_with("status: "), "{reason}");
    }
}
