//! What it is to run a node: a member that is away costs nothing, SIGHUP ends nobody, the service manager is told, a member
//! that has moved is told, and so is whoever shuts the nodes out.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

use crate::common::{
    Cluster, Node,
    cluster::{START, WATCHKEEP},
    etcdctl::ok,
    eventually, http, ports,
    process::Process,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);
/// For so long a member is away.
const AWAY: Duration = Duration::from_secs(4);

fn log(node: &Node) -> String {
    fs::read_to_string(node.log()).unwrap_or_default()
}

async fn logs(node: &Node, words: &str) {
    eventually(words, SOON, async || ensure(log(node).contains(words), || log(node))).await;
}

/// How often this node could not send something to that member.
async fn failures(node: &Node, to: usize) -> Result<f64, String> {
    let page = http::text(http::client().get(node.url("/metrics"))).await?;
    let series = format!("etcd_network_peer_sent_failures_total{{To=\"{to}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(series.as_str()));
    Ok(line.and_then(|value| value.parse().ok()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_away_is_tried_in_moderation_and_each_reason_is_said_once() {
    let mut cluster = Cluster::layout_roles(&["registry"; 3], None, &[]).run().await;
    let at = cluster.raft_leader().await;
    let away = (at + 1) % 3;
    cluster.nodes[away].kill();
    ok(&cluster.nodes[at].client, &["put", "k", "1"]);
    logs(&cluster.nodes[at], "entries do not reach a member").await;
    let to = cluster.nodes[away].id;
    let before = failures(&cluster.nodes[at], to).await.expect("metrics");
    tokio::time::sleep(AWAY).await;
    let tries = failures(&cluster.nodes[at], to).await.expect("metrics") - before;
    // A heartbeat every 50 ms, and entries a few times a second.
    assert!((1.0..400.0).contains(&tries), "{tries} in {AWAY:?}");
    // What was on its way when the member died may fail otherwise than what is tried later.
    let said = log(&cluster.nodes[at]);
    let mut reasons: Vec<_> =
        said.lines().filter_map(|line| line.split_once("entries do not reach a member")).collect();
    let times = reasons.len();
    reasons.sort_unstable_by_key(|(_, reason)| *reason);
    reasons.dedup_by_key(|(_, reason)| *reason);
    assert!(times == reasons.len() && times <= 4, "{said}");
    assert!(said.lines().count() < 200, "{said}");
    cluster.nodes[away].start();
    cluster.nodes[away].ready().await;
    logs(&cluster.nodes[at], "entries reach the member again").await;
    assert_eq!(ok(&cluster.nodes[away].client, &["get", "k"]), "k\n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_ends_no_node_whatever_its_roles() {
    let mut cluster =
        Cluster::layout_roles(&["registry", "collector", "alerting"], None, &[]).run().await;
    for node in &mut cluster.nodes {
        let id = node.process().id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status().expect("kill");
        assert!(sent.success());
    }
    logs(&cluster.nodes[0], "SIGHUP: nothing is read again here").await;
    logs(&cluster.nodes[1], "SIGHUP: nothing is read again here").await;
    for node in &mut cluster.nodes {
        assert!(!node.has_ended(), "{}: {}", node.name, log(node));
        node.ready_http().await;
    }
}

/// A node of flags alone, under a service manager that wants to be told.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_and_clients_are_told() {
    let dir = TempDir::with_prefix("watchkeep-test-").expect("temporary folder");
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(START)).expect("a timeout");
    let told = || {
        let mut state = [0; 64];
        let length = manager.recv(&mut state).expect("told in time");
        String::from_utf8_lossy(&state[..length]).into_owned()
    };
    let port = ports::free();
    let url = format!("http://localhost:{port}");
    let listen = format!("0.0.0.0:{port}");
    let local = || format!("127.0.0.1:{}", ports::free());
    let command = |more: &[&str]| {
        let mut command = Command::new(WATCHKEEP);
        command.args([
            "serve",
            "--until-stdin-closes",
            "--roles",
            "registry",
            "--data-dir",
            "data",
        ]);
        command.args(["--client-listen", &listen, "--peer-listen", &local()]);
        command.args(["--http-listen", &local()]).args(more);
        command.current_dir(dir.path()).env("NOTIFY_SOCKET", &socket);
        command
    };
    let nowhere = command(&[]).output().expect("it runs");
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(!nowhere.status.success() && said.contains("registry.client_url"), "{said}");

    let log = dir.path().join("log");
    let mut node = Process::spawn("node", command(&["--client-url", &url]), &log);
    assert_eq!(told(), "READY=1");
    // What it says of itself goes through the log, after it serves.
    eventually("clients are told its address", SOON, async || {
        let members = ok(&format!("127.0.0.1:{port}"), &["member", "list"]);
        ensure(members.contains(&url), || members)
    })
    .await;
    node.terminate();
    assert_eq!(told(), "STOPPING=1");
    assert!(node.wait(SOON).success(), "{}", node.output());
}

/// Whoever is at a member's address and does not speak as members do is said: so half of TLS shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_speaks_otherwise_is_said() {
    let mut cluster = Cluster::layout_roles(&["registry"; 2], None, &[]);
    let stranger = TcpListener::bind(&cluster.nodes[1].peer).expect("bound");
    std::thread::spawn(move || {
        for mut caller in stranger.incoming().flatten() {
            // As a listener with TLS does with what is no handshake: an alert, and the end.
            let _ = caller.write_all(&[21, 3, 3, 0, 2, 2, 10]);
        }
    });
    cluster.nodes[0].start();
    logs(&cluster.nodes[0], "registry.peer_tls has to be set on all members or on none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_moved_is_told_what_to_say() {
    let mut cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let node = &mut cluster.nodes[0];
    let former = node.peer.clone();
    node.kill();
    node.move_peer();
    node.start();
    node.ready().await;
    let remedy = format!("`watchkeep member update 1 {}`", node.peer);
    logs(node, &format!("look for member 1 at {former}")).await;
    assert!(log(node).contains(&remedy), "{}", log(node));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shuts_the_nodes_out_is_told_and_so_are_the_nodes() {
    let cluster = Cluster::layout(1, &[]);
    cluster.nodes[0].set_registry("bcrypt_cost: 4");
    let cluster = cluster.run().await;
    let node = &cluster.nodes[0];
    eventually("the node has registered itself", SOON, async || {
        node.get("/watchkeep/instances/watchkeep/node-1").await?.ok_or("not yet".to_owned())
    })
    .await;
    let password = cluster.dir().join("password");
    fs::write(&password, "pw\n").expect("written");
    let watchkeep = |args: &[&str]| -> Output {
        let mut command = Command::new(WATCHKEEP);
        command.args(args).args(["--endpoints", &format!("http://{}", node.client)]);
        command.output().expect("it runs")
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let early = watchkeep(&["auth", "enable"]);
    assert!(said(&early).contains("`watchkeep user add root`"), "{}", said(&early));
    let file = password.to_str().expect("UTF-8");
    assert!(watchkeep(&["user", "add", "root", "--new-password-file", file]).status.success());
    assert!(watchkeep(&["user", "grant-role", "root", "root"]).status.success());
    let enabled = watchkeep(&["auth", "enable"]);
    assert!(enabled.status.success(), "{}", said(&enabled));
    assert!(said(&enabled).contains("no user has the role watchkeep"), "{}", said(&enabled));
    let anonymous = watchkeep(&["member", "list"]);
    assert!(said(&anonymous).contains("say who you are with --user"), "{}", said(&anonymous));
    eventually("/readyz says what to do", SOON, async || {
        let ready = http::text(http::client().get(node.url("/readyz"))).await;
        let error = ready.err().ok_or("it is ready")?;
        ensure(error.contains("set registry.username"), || error)
    })
    .await;
    // With a user for the nodes there is nothing to warn of.
    let root = ["--user", "root:pw"];
    assert!(watchkeep(&[&["auth", "disable"][..], &root].concat()).status.success());
    assert!(watchkeep(&["user", "add", "rooms", "--new-password-file", file]).status.success());
    assert!(watchkeep(&["user", "grant-role", "rooms", "watchkeep"]).status.success());
    let again = watchkeep(&["auth", "enable"]);
    assert!(again.status.success() && said(&again).is_empty(), "{}", said(&again));
}
