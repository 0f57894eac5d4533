//! Members of a real etcd, well and not.

use std::{fs, process::Command};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use watchkeep_catalog::MemberState;

use super::{
    super::rig::{
        DRIP, LONG_MS, Pki, SHORT_MS, Server, free_port, goes_on, mute, probe, resets, said, serve,
    },
    EtcdProbe,
};

/// An etcd of one member; `more` goes to its command line.
pub(in crate::probe) fn etcd(pki: &Pki, scheme: &str, more: &[&str]) -> (Server, u16) {
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
pub(in crate::probe) async fn elected(port: u16) {
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
    // Settings of HTTP/2, again and again: it is never asked to wait, and never answered.
    let drips = goes_on(b"", &[0, 0, 0, 4, 0, 0, 0, 0, 0], DRIP).await;
    for (port, timeout_ms, reason) in [
        (free_port(), LONG_MS, "connect to 127.0.0.1:PORT: connection refused"),
        (mute().await, SHORT_MS, "no answer within 200 ms"),
        (drips, SHORT_MS, "no answer within 200 ms"),
    ] {
        assert_eq!(said(port, timeout_ms, r#""etcd":{}"#).await, (false, reason.to_owned()));
    }
    for port in [http1, resets().await] {
        let (good, reason) = said(port, LONG_MS, r#""etcd":{}"#).await;
        assert!(!good && reason.starts_with("status: "), "{reason}");
    }
}

/// Servers of gRPC whose answer to the first question has no end: messages of nothing, and one of 4 GiB.
#[tokio::test]
async fn answers_without_end() {
    for (message, reason) in [
        (&[0_u8, 0, 0, 0, 0][..], "no answer within 200 ms"),
        (&[0, 0xff, 0xff, 0xff, 0xff], "status: "),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let endless = move || async move {
            let part = move || Ok::<_, std::io::Error>(message.repeat(500));
            let body = axum::body::Body::from_stream(futures::stream::repeat_with(part));
            ([("content-type", "application/grpc")], body)
        };
        let app = axum::Router::new().fallback(endless);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let begun = std::time::Instant::now();
        let (good, said) = said(port, SHORT_MS, r#""etcd":{}"#).await;
        assert!(!good && said.starts_with(reason), "{said}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn what_a_member_says_is_judged() {
    let probe = EtcdProbe {
        tls: None,
        url: String::new(),
        login: None,
        canary_key: None,
        raft_lag_max: 10,
        db_bytes_max: None,
    };
    let well =
        || MemberState { id: 0x1f, leader: 2, version: "3.5.0".into(), ..Default::default() };
    for (state, good, words) in [
        (well(), true, "member 1f is follower, etcd 3.5.0"),
        (MemberState { leader: 0x1f, ..well() }, true, "member 1f is leader, etcd 3.5.0"),
        (MemberState { is_learner: true, ..well() }, true, "member 1f is learner, etcd 3.5.0"),
        (MemberState { raft_lag: 10, ..well() }, true, "member 1f is follower, etcd 3.5.0"),
        (
            MemberState { raft_lag: 11, ..well() },
            false,
            "member 1f lags 11 entries behind, at most 10 expected",
        ),
        (MemberState { leader: 0, ..well() }, false, "member 1f knows no leader"),
        (
            MemberState { errors: vec!["disk is slow".into()], ..well() },
            false,
            "member 1f: disk is slow",
        ),
    ] {
        let (Ok(said) | Err(said)) = &probe.judge(&state);
        assert_eq!((probe.judge(&state).is_ok(), &**said), (good, words));
    }
}

/// A learner is well though it neither reads with its cluster nor writes; a member with alarm CORRUPT is not.
#[tokio::test]
async fn a_learner_and_a_corrupt_member() {
    let (pki, learner_pki) = (Pki::new(), Pki::new());
    let (_etcd, port) = etcd(&pki, "http", &[]);
    elected(port).await;
    let (client, peer) = (free_port(), free_port());
    let (client_url, peer_url) =
        (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let peers = format!("--peer-urls={peer_url}");
    let (added, said) = etcdctl(port, &["member", "add", "b", "--learner", &peers]);
    assert!(added, "{said}");
    let cluster = said.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER="));
    let cluster = cluster.expect("how to start it").trim_matches('"');
    let data = learner_pki.path("data");
    let mut args = vec!["--name", "b", "--data-dir", &data, "--log-level", "error"];
    args.extend(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
    args.extend(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    args.extend(["--initial-cluster", cluster, "--initial-cluster-state", "existing"]);
    let _learner = Server::start("etcd", &args, client);
    elected(client).await;
    let outcome = probe(client, LONG_MS, r#""etcd":{"canary_key":"/canary"}"#).await;
    assert!(outcome.good && outcome.reason.contains(" is learner, etcd 3."), "{}", outcome.reason);
    assert_eq!(outcome.fact("probe_etcd_is_learner", &[]), Some(1.0));

    let body = r#"{"action":"ACTIVATE","alarm":"CORRUPT"}"#;
    let request = format!(
        "POST /v3/maintenance/alarm HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (good, reason) = self::said(port, LONG_MS, r#""etcd":{"canary_key":"/canary"}"#).await;
    assert!(!good && reason.contains(": alarm CORRUPT of member "), "{reason}");
}
