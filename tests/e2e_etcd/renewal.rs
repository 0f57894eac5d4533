//! Certificates between members change while they run and somebody writes: first all certificates, then the authority
//! that made them, and at last the authority of clients. New connections use what is new. One member starts again, so
//! that the others, which do not, have to connect to it and to let it in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;
use tokio::task::JoinHandle;

use super::tls::{SOON, Setting, etcdctl, log, sample, text, urls};
use crate::common::{
    Cluster, Node,
    cluster::START,
    eventually, http,
    pki::{Authority, Pair},
    wait::ensure,
};

/// Puts a file in another's place in one step.
fn replace(new: &Path, place: &Path) {
    let beside = place.with_extension("new");
    fs::copy(new, &beside).expect("copied");
    fs::rename(&beside, place).expect("renamed");
}

/// The certificate in a text, without its line breaks.
fn certificate(text: &str) -> String {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap_or_default();
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").unwrap_or_default();
    body.split_whitespace().collect()
}

/// Connects to the peer listener; the certificate that it shows.
fn shown(node: &Node, caller: &Pair) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &node.peer]).stdin(Stdio::null());
    command.arg("-cert").arg(&caller.cert).arg("-key").arg(&caller.key);
    certificate(&text(&command.output().expect("openssl runs").stdout))
}

/// Where a node's own certificate for the others lies.
fn own(setting: &Setting, node: &Node) -> Pair {
    let file = |end: &str| setting.dir.join(format!("peer-{}{end}.pem", node.id));
    Pair { cert: file(""), key: file("-key") }
}

/// Gives every member a certificate of this authority, and waits until all of them show theirs.
async fn certify(setting: &Setting, nodes: &[Node], authority: &Authority, caller: &Pair) {
    let before: Vec<String> = nodes.iter().map(|node| shown(node, caller)).collect();
    for node in nodes {
        let new = authority.issue(&setting.dir, &format!("new-{}", node.id), &["127.0.0.1"]);
        let own = own(setting, node);
        replace(&new.key, &own.key);
        replace(&new.cert, &own.cert);
    }
    for (node, before) in nodes.iter().zip(before) {
        let file = fs::read_to_string(own(setting, node).cert).expect("its certificate");
        let new = certificate(&file);
        assert!(!before.is_empty() && before != new, "{} has shown one", node.name);
        eventually(&format!("{} shows its new certificate", node.name), SOON, async || {
            let shown = shown(node, caller);
            ensure(shown == new, || format!("{shown} instead of {new}; {}", log(node)))
        })
        .await;
    }
}

/// How often a listener has taken new files.
async fn taken(node: &Node, listener: &str) -> f64 {
    let counter = "watchkeep_registry_tls_reloads_total";
    let series = format!("{counter}{{listener=\"{listener}\",result=\"taken\"}}");
    // There is none before the first.
    sample(node, &series).await.unwrap_or_default()
}

/// Replaces authorities, and waits until each of these nodes has taken them.
async fn trust(nodes: &[Node], listener: &str, new: &Path, place: &Path) {
    let mut before = Vec::new();
    for node in nodes {
        before.push(taken(node, listener).await);
    }
    replace(new, place);
    for (node, before) in nodes.iter().zip(before) {
        eventually(&format!("{} takes the authorities", node.name), SOON, async || {
            ensure(taken(node, listener).await > before, || log(node))
        })
        .await;
    }
}

/// Puts one number after another, none of which may fail, until it is stopped; the last number.
fn write(setting: &Arc<Setting>, endpoints: String, stop: &Arc<AtomicBool>) -> JoinHandle<u32> {
    let (setting, stop) = (Arc::clone(setting), Arc::clone(stop));
    tokio::task::spawn_blocking(move || {
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            number += 1;
            let put = setting.etcdctl(&endpoints, &["put", "number", &number.to_string()]);
            assert!(put.status.success(), "put {number}: {}", text(&put.stderr));
            thread::sleep(Duration::from_millis(50));
        }
        number
    })
}

/// Three members whose clients' authority lies in a file of its own, which is given; that of a follower, too.
async fn start(cluster: &mut Cluster, setting: &Setting) -> (PathBuf, usize) {
    let client_ca = setting.dir.join("client-ca.pem");
    fs::copy(&setting.clients.file, &client_ca).expect("copied");
    cluster.configure_registry(|node| {
        let mut registry = setting.registry(node);
        registry["tls"]["client_ca"] = json!(client_ca);
        registry
    });
    cluster.nodes.iter_mut().for_each(Node::start);
    for node in &cluster.nodes {
        let at = urls(std::slice::from_ref(node));
        eventually(&format!("{} answers", node.name), START, async || {
            let got = setting.etcdctl(&at, &["get", "number"]);
            ensure(got.status.success(), || text(&got.stderr))
        })
        .await;
    }
    let state = eventually("a leader", START, async || {
        let state = http::get(&cluster.nodes[0].url("/v1/cluster")).await?;
        ensure(state["leader"].is_u64(), || state.to_string())?;
        Ok(state)
    })
    .await;
    let follows = cluster.nodes.iter().position(|node| state["leader"] != node.id);
    (client_ca, follows.expect("one of three leads"))
}

#[tokio::test(flavor = "multi_thread")]
async fn members_take_new_certificates_and_authorities_while_they_run() {
    let mut cluster = Cluster::layout_roles(&["registry"; 3], None, &[]);
    let setting = Arc::new(Setting::new(cluster.dir()));
    let (client_ca, follower) = start(&mut cluster, &setting).await;
    let old = setting.peers.issue(&setting.dir, "caller", &["127.0.0.1"]);
    let stays = (follower + 1) % 3;
    let others = cluster.nodes.iter().filter(|node| node.id != follower + 1);
    let others: Vec<String> = others.map(|node| format!("https://{}", node.client)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write(&setting, others.join(","), &stop);

    certify(&setting, &cluster.nodes, &setting.peers, &old).await;

    // Another authority: both are trusted until every certificate comes from the new one.
    let authority = Authority::new(&setting.dir, "new-peers-ca");
    let new = authority.issue(&setting.dir, "new-caller", &["127.0.0.1"]);
    let pem = |file: &Path| fs::read_to_string(file).expect("its certificate");
    let both = setting.dir.join("both.pem");
    fs::write(&both, pem(&setting.peers.file) + &pem(&authority.file)).expect("written");
    trust(&cluster.nodes, "peer", &both, &setting.peers.file).await;
    certify(&setting, &cluster.nodes, &authority, &new).await;
    trust(&cluster.nodes, "peer", &authority.file, &setting.peers.file).await;
    eventually("the former authority's certificate is refused", SOON, async || {
        shown(&cluster.nodes[stays], &old);
        let log = log(&cluster.nodes[stays]);
        ensure(log.contains("comes from no authority in peer_tls.ca"), || log.clone())
    })
    .await;

    // It knows the new authority only, so what the others show it and take from it is new.
    let node = &mut cluster.nodes[follower];
    node.kill();
    node.start();
    let at = urls(std::slice::from_ref(&*node));
    eventually("the member is there again", START, async || {
        let got = setting.etcdctl(&at, &["get", "number"]);
        ensure(got.status.success(), || text(&got.stderr))
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let last = writer.await.expect("no put failed");
    let got = setting.etcdctl(&at, &["get", "number", "--print-value-only"]);
    assert_eq!(text(&got.stdout), last.to_string(), "{}", text(&got.stderr));

    // And those of clients.
    let clients = Authority::new(&setting.dir, "new-clients-ca");
    let bob = clients.issue(&setting.dir, "bob", &[]);
    trust(&cluster.nodes, "client", &clients.file, &client_ca).await;
    let (ca, short) = (&setting.clients.file, PathBuf::from("2s"));
    let put = |pair: &Pair| {
        let files = [("--cacert", ca), ("--cert", &pair.cert), ("--key", &pair.key)];
        let limits = [("--dial-timeout", &short), ("--command-timeout", &short)];
        etcdctl(&urls(&cluster.nodes), &[&files[..], &limits].concat(), &["put", "by", "bob"])
    };
    let (former, known) = (put(&setting.client), put(&bob));
    assert!(!former.status.success(), "{}", text(&former.stdout));
    assert!(known.status.success(), "{}", text(&known.stderr));
}
