//! Addresses that a node's file denies are neither probed nor scraped, nor asked for a token; and a socket that its user may
//! not use is no service.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::common::{
    Cluster, cluster::WATCHKEEP, eventually, http, postgres::unprivileged, receiver::Receiver,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);

/// All of `127.0.0.0/8` is this machine; of it this address is denied.
const DENIED: &str = "127.0.0.2";

#[tokio::test(flavor = "multi_thread")]
async fn denied_addresses_are_neither_probed_nor_scraped() {
    let service = Receiver::start().await;
    let files = tempfile::TempDir::new().expect("a folder");
    fs::write(files.path().join("secret"), "tiger").expect("written");
    // Whoever is connected to there has been asked.
    let trap = tokio::net::TcpListener::bind((DENIED, 0)).await.expect("bind");
    let port = trap.local_addr().expect("bound").port();
    let collector = json!({"targets": {"deny": [DENIED]}, "files_dir": files.path()});
    let cluster = Cluster::start(1, &[("collector", collector)]).await;
    let node = &cluster.nodes[0];
    let check = |kind: Value| {
        let mut check = json!({"name": "c", "interval_ms": 200, "timeout_ms": 1_000});
        let fields = check.as_object_mut().expect("an object");
        fields.extend(kind.as_object().cloned().expect("an object"));
        check
    };
    let own: u16 = service.url("").rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    let oauth2 = json!({"client_id": "me", "client_secret": {"file": "secret"},
        "token_url": format!("http://{DENIED}:{port}/token")});
    let proxy = json!({"url": format!("http://{DENIED}:{port}")});
    let denied = format!("{DENIED} must not be probed: collector.targets.deny has {DENIED}/32");
    for (id, address, at, kind, reason) in [
        ("tcp", DENIED, port, json!({"tcp": {}}), format!("c: {denied}")),
        ("http", DENIED, port, json!({"http": {}}), format!("c: {denied}")),
        ("icmp", DENIED, port, json!({"icmp": {}}), format!("c: {denied}")),
        (
            "proxy",
            "127.0.0.1",
            own,
            json!({"http": {"proxy": proxy}}),
            format!("c: proxy: {denied}"),
        ),
        (
            "token",
            "127.0.0.1",
            own,
            json!({"http": {"oauth2": oauth2}}),
            format!("c: token from {DENIED}:{port}: {denied}"),
        ),
    ] {
        let instance = json!({"id": id, "address": address, "port": at, "checks": [check(kind)]});
        // Each in a service of its own: all at once would be a panic.
        node.register(id, &instance).await;
        let verdict = node.verdict(id, id, "critical", SOON).await;
        assert_eq!(verdict["reason"], reason);
    }
    let scraped = json!({"id": "scraped", "address": DENIED, "port": port,
        "scrape": {"interval_ms": 200, "timeout_ms": 200}});
    node.register("app", &scraped).await;
    eventually("the scrape is down", SOON, async || {
        let answer = http::get(&node.url("/api/v1/targets")).await?;
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let target = targets.into_iter().find(|t| t["labels"]["instance"] == "scraped");
        let target = target.ok_or_else(|| answer.to_string())?;
        ensure(target["health"] == "down", || target.to_string())?;
        let error = target["lastError"].as_str().unwrap_or_default();
        ensure(error.contains("collector.targets.deny has 127.0.0.2/32"), || error.to_owned())
    })
    .await;
    let asked = tokio::time::timeout(Duration::from_millis(500), trap.accept()).await;
    assert!(asked.is_err(), "somebody has connected to {DENIED}");
}

/// As a user who may not write to it: root may everything.
#[test]
fn a_socket_without_permission() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let mode = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    mode(dir.path(), 0o755);
    let socket = dir.path().join("app.sock");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let config = dir.path().join("watchkeep.yaml");
    // The whole configuration is judged: also whether there is a place for data.
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("a folder");
    mode(&data, 0o777);
    let allowed = json!({
        "node": {"data_dir": data}, "collector": {"targets": {"allow": [dir.path()]}},
    });
    fs::write(&config, allowed.to_string()).expect("written");
    mode(&config, 0o644);
    let probe = |mut command: Command| {
        command.args(["probe", "unix", &socket.display().to_string(), "--config"]).arg(&config);
        let output = command.output().expect("watchkeep runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
    };
    mode(&socket, 0o777);
    assert_eq!(probe(unprivileged(WATCHKEEP)), (true, String::new()));
    mode(&socket, 0o600);
    // Where the test is not root's, the socket is the user's own.
    if let (false, said) = probe(unprivileged(WATCHKEEP)) {
        let begin = format!("connect to {}: Permission denied", socket.display());
        assert!(said.starts_with(&begin), "{said}");
    } else {
        assert!(probe(Command::new(WATCHKEEP)).0);
        mode(&socket, 0o000);
        let (good, said) = probe(Command::new(WATCHKEEP));
        assert!(!good && said.contains("Permission denied"), "{said}");
    }
}
