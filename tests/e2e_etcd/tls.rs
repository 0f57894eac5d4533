//! Three nodes with TLS for clients and between members: etcdctl with a certificate gets in and without one does not; a
//! member with another authority's certificate does not; certificates are changed while all runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};

use crate::common::{
    Cluster, Node,
    cluster::{START, WATCHKEEP},
    etcdctl, eventually, http,
    pki::{Authority, Pair},
    wait::ensure,
};

pub(super) const SOON: Duration = Duration::from_secs(20);

/// Who knows whom.
pub(super) struct Setting {
    pub(super) dir: PathBuf,
    pub(super) clients: Authority,
    pub(super) peers: Authority,
    /// What every node shows to clients.
    server: Pair,
    /// What clients show.
    pub(super) client: Pair,
}

impl Setting {
    pub(super) fn new(dir: &Path) -> Self {
        let dir = dir.to_owned();
        let (clients, peers) =
            (Authority::new(&dir, "clients-ca"), Authority::new(&dir, "peers-ca"));
        let server = clients.issue(&dir, "server", &["127.0.0.1"]);
        let client = clients.issue(&dir, "alice", &[]);
        Self { dir, clients, peers, server, client }
    }

    /// The registry's settings of one node.
    pub(super) fn registry(&self, node: &Node) -> Value {
        let peer = self.peers.issue(&self.dir, &format!("peer-{}", node.id), &["127.0.0.1"]);
        json!({
            "tls": {
                "cert": self.server.cert, "key": self.server.key,
                "client_ca": self.clients.file, "client_cert_auth": true,
            },
            "peer_tls": {"cert": peer.cert, "key": peer.key, "ca": self.peers.file},
            "client_tls": {"ca": self.clients.file, "cert": self.client.cert, "key": self.client.key},
        })
    }

    /// etcdctl with what a client needs.
    pub(super) fn etcdctl(&self, endpoints: &str, args: &[&str]) -> Output {
        let [ca, cert, key] = [&self.clients.file, &self.client.cert, &self.client.key];
        etcdctl(endpoints, &[("--cacert", ca), ("--cert", cert), ("--key", key)], args)
    }
}

pub(super) fn etcdctl(endpoints: &str, files: &[(&str, &PathBuf)], args: &[&str]) -> Output {
    let mut command = etcdctl::command(endpoints, args);
    command.args(files.iter().map(|(flag, file)| format!("{flag}={}", file.display())));
    command.output().expect("etcdctl runs")
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

pub(super) fn log(node: &Node) -> String {
    fs::read_to_string(node.log()).unwrap_or_default()
}

pub(super) fn urls(nodes: &[Node]) -> String {
    nodes.iter().map(|node| format!("https://{}", node.client)).collect::<Vec<_>>().join(",")
}

/// A sample of a node's metrics page.
pub(super) async fn sample(node: &Node, series: &str) -> Result<f64, String> {
    let page = http::text(http::client().get(node.url("/metrics"))).await?;
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|value| value.trim().parse().ok()).ok_or_else(|| format!("no {series}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_certificates_everywhere() {
    let mut cluster = Cluster::layout(3, &[]);
    let setting = Setting::new(cluster.dir());
    cluster.configure_registry(|node| setting.registry(node));
    for node in &mut cluster.nodes {
        node.start();
    }
    let endpoints = urls(&cluster.nodes);
    eventually("etcdctl with a certificate writes", START, async || {
        let put = setting.etcdctl(&endpoints, &["put", "greeting", "hello"]);
        ensure(put.status.success(), || text(&put.stderr))
    })
    .await;
    for node in &cluster.nodes {
        let got = setting.etcdctl(&urls(std::slice::from_ref(node)), &["get", "greeting"]);
        assert_eq!(text(&got.stdout), "greeting\nhello", "{}", text(&got.stderr));
        // The rooms of each node are clients as well.
        eventually("the node's own rooms", SOON, async || {
            http::text(http::client().get(node.url("/readyz"))).await
        })
        .await;
    }
    let members = text(&setting.etcdctl(&endpoints, &["member", "list", "-w", "json"]).stdout);
    let members: Value = serde_json::from_str(&members).expect("JSON");
    for (member, node) in members["members"].as_array().expect("members").iter().zip(&cluster.nodes)
    {
        assert_eq!(member["peerURLs"], json!([format!("https://{}", node.peer)]));
        assert_eq!(member["clientURLs"], json!([format!("https://{}", node.client)]));
    }
    cli(&setting, &endpoints);
    refused(&setting, &cluster.nodes[0]).await;
    refused_members(&setting, &cluster).await;
    renewed(&setting, &cluster.nodes[0]).await;
}

/// `watchkeep service` straight into the registry, by etcdctl's flags.
fn cli(setting: &Setting, endpoints: &str) {
    let register = |files: &[(&str, &PathBuf)]| {
        let mut command = Command::new(WATCHKEEP);
        command.args(["service", "register", "--service", "web", "--id", "web-1"]);
        command.args(["--address", "127.0.0.1", "--port", "80", "--endpoints", endpoints]);
        command.args(files.iter().map(|(flag, file)| format!("{flag}={}", file.display())));
        command.output().expect("it runs")
    };
    let [ca, cert, key] = [&setting.clients.file, &setting.client.cert, &setting.client.key];
    let done = register(&[("--cacert", ca), ("--cert", cert), ("--key", key)]);
    assert_eq!(text(&done.stdout), "web/web-1 registered", "{}", text(&done.stderr));
    let untrusting = register(&[("--cert", cert), ("--key", key)]);
    assert!(text(&untrusting.stderr).contains("UnknownIssuer"), "{}", text(&untrusting.stderr));
    let half = register(&[("--cacert", ca), ("--cert", cert)]);
    assert!(text(&half.stderr).contains("--key"), "{}", text(&half.stderr));
}

/// Clients without TLS, without a certificate, with another authority's.
async fn refused(setting: &Setting, node: &Node) {
    let own = format!("https://{}", node.client);
    let ca = &setting.clients.file;
    let stranger = Authority::new(&setting.dir, "stranger");
    let strange = stranger.issue(&setting.dir, "mallory", &[]);
    let counter = "watchkeep_registry_tls_connections_refused_total{listener=\"client\"}";
    let before = sample(node, counter).await.expect("a counter");
    for (endpoint, files, said) in [
        (node.client.as_str(), vec![], "the caller does not speak TLS"),
        (
            &own,
            vec![("--cacert", ca)],
            "no certificate was shown, and tls.client_cert_auth demands one",
        ),
        (
            &own,
            vec![("--cacert", ca), ("--cert", &strange.cert), ("--key", &strange.key)],
            "invalid peer certificate",
        ),
    ] {
        let mut args = files;
        let short = PathBuf::from("2s");
        args.push(("--dial-timeout", &short));
        args.push(("--command-timeout", &short));
        let got = etcdctl(endpoint, &args, &["get", "greeting"]);
        assert!(!got.status.success(), "{endpoint}: {}", text(&got.stdout));
        assert!(log(node).contains(said), "{said}:\n{}", log(node));
    }
    assert!(sample(node, counter).await.expect("a counter") >= before + 3.0);
    // A client that trusts another authority goes away by itself.
    let other = etcdctl(
        &own,
        &[
            ("--cacert", &stranger.file),
            ("--cert", &setting.client.cert),
            ("--key", &setting.client.key),
        ],
        &["get", "greeting", "--dial-timeout", "2s"],
    );
    assert!(!other.status.success());
}

/// The peer listener: no certificate, another authority's, and one that is not a member's.
async fn refused_members(setting: &Setting, cluster: &Cluster) {
    let node = &cluster.nodes[1];
    let dir = &setting.dir;
    let strange = Authority::new(dir, "strange-peers").issue(dir, "strange-peer", &["127.0.0.1"]);
    let other = setting.peers.issue(dir, "printer", &["10.9.9.9"]);
    for (pair, said) in [
        (None, "no certificate was shown: only members"),
        (Some(strange), "invalid peer certificate"),
        (Some(other), "neither for the caller's address 127.0.0.1 nor for a member"),
    ] {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-quiet", "-connect", &node.peer, "-CAfile"])
            .arg(&setting.peers.file);
        if let Some(pair) = &pair {
            command.arg("-cert").arg(&pair.cert).arg("-key").arg(&pair.key);
        }
        command.stdin(std::process::Stdio::null());
        command.output().expect("openssl runs");
        eventually(said, SOON, async || ensure(log(node).contains(said), || log(node))).await;
    }
}

/// New files are used without a restart; broken ones are not.
async fn renewed(setting: &Setting, node: &Node) {
    let issuer_of = || {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &node.client]).stdin(std::process::Stdio::null());
        let shown = text(&command.output().expect("openssl runs").stdout);
        shown.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
    };
    assert!(issuer_of().ends_with("server"), "{}", issuer_of());
    let expiry = "watchkeep_registry_tls_certificate_expiry_timestamp_seconds{listener=\"client\"}";
    assert!(sample(node, expiry).await.expect("a gauge") > 1.8e9);

    fs::write(&setting.server.cert, "-----BEGIN NONSENSE").expect("written");
    let reloads = |result: &str| {
        format!("watchkeep_registry_tls_reloads_total{{listener=\"client\",result=\"{result}\"}}")
    };
    eventually("the broken file is refused", SOON, async || {
        let refused = sample(node, &reloads("refused")).await?;
        ensure(refused >= 1.0, || refused.to_string())
    })
    .await;
    assert!(log(node).contains("the former ones stay"), "{}", log(node));
    assert!(issuer_of().ends_with("server"), "the former one stays: {}", issuer_of());

    let new = setting.clients.issue(&setting.dir, "renewed", &["127.0.0.1"]);
    fs::copy(&new.key, &setting.server.key).expect("copied");
    fs::copy(&new.cert, &setting.server.cert).expect("copied");
    eventually("the new certificate is shown", SOON, async || {
        ensure(issuer_of().ends_with("renewed"), issuer_of)
    })
    .await;
    assert!(sample(node, &reloads("taken")).await.expect("a counter") >= 1.0);
    let got = setting.etcdctl(&format!("https://{}", node.client), &["get", "greeting"]);
    assert_eq!(text(&got.stdout), "greeting\nhello", "{}", text(&got.stderr));
}
