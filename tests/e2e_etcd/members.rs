//! The registry's members change while it is written to: one node grows to three and shrinks to one again, by
//! etcdctl and by our own command. No acknowledged write is lost, and wrong changes are refused in etcd's words.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use watchkeep_catalog::Client;

use crate::common::{Cluster, Node, cluster::WATCHKEEP, etcdctl, eventually, http, wait::ensure};

const LONG: Duration = Duration::from_secs(60);
const WRITERS: usize = 4;
const KEYS_PER_WRITER: usize = 100;

/// `watchkeep member …` at these endpoints.
fn member(endpoints: &[String], args: &[&str]) -> Output {
    let mut command = Command::new(WATCHKEEP);
    command.arg("member").args(args).args(["--endpoints", &endpoints.join(",")]);
    command.output().expect("watchkeep runs")
}

/// Its answer as JSON.
fn member_json(endpoints: &[String], args: &[&str]) -> Value {
    let output = member(endpoints, &[args, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "member {args:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Its error.
fn refusal(endpoints: &[String], args: &[&str]) -> String {
    let output = member(endpoints, args);
    assert!(!output.status.success(), "member {args:?} must be refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until exactly `ids` vote, and everybody who runs says so.
async fn voters(cluster: &Cluster, ids: &[u64]) {
    for node in cluster.nodes.iter().filter(|node| node.is_running()) {
        eventually(&format!("{} knows the voters {ids:?}", node.name), LONG, async || {
            let state = http::get(&node.url("/v1/cluster")).await?;
            let members = state["members"].as_array().cloned().unwrap_or_default();
            let votes: Vec<u64> = members
                .iter()
                .filter(|member| member["is_learner"] == false)
                .filter_map(|member| member["id"].as_u64())
                .collect();
            ensure(votes == ids, || state.to_string())
        })
        .await;
    }
}

/// Everything that was acknowledged, while `stop` is not set.
#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeMap<String, usize>>>,
    count: Arc<AtomicUsize>,
}

impl Load {
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    async fn write(self, writer: usize, mut endpoints: Vec<String>) {
        let places = endpoints.len();
        endpoints.rotate_left(writer % places);
        let registry = Client::new(&endpoints).expect("endpoints");
        for number in 1.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let key = format!("/grown/{writer}/{}", number % KEYS_PER_WRITER);
            let deadline = Instant::now() + LONG;
            while let Err(error) = registry.put(&key, number.to_string(), 0).await {
                assert!(Instant::now() < deadline, "put {key}: {error}");
            }
            self.acknowledged.lock().expect("no holder panicked").insert(key, number);
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits until the node's own state has all that was acknowledged by now.
async fn holds(node: &Node, load: &Load) {
    let wanted = load.acknowledged.lock().expect("no holder panicked").clone();
    eventually(&format!("{} holds everything", node.name), LONG, async || {
        let held = node.numbers("/grown/").await?;
        let lost: Vec<_> =
            wanted.iter().filter(|(key, value)| held.get(*key) < Some(*value)).take(3).collect();
        ensure(lost.is_empty(), || format!("missing: {lost:?}"))
    })
    .await;
}

/// The removed node says what to do, ends with an error, and does so again when it is started again.
async fn ends_for_ever(node: &mut Node) {
    for starts_again in [true, false] {
        let status = node.process().wait(LONG);
        assert!(!status.success());
        let said = node.process().output();
        let last = said.lines().last().unwrap_or_default().to_owned();
        let expected = format!("registry: member {} was removed from cluster", node.id);
        assert!(last.starts_with(&expected) && last.contains("watchkeep member add"), "{last}");
        node.kill();
        if starts_again {
            node.start();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_grows_to_three_and_shrinks_to_one_under_load() {
    let cluster = Cluster::layout(1, &[]);
    // So that the log is soon too short for a new member: it gets a snapshot.
    cluster.nodes[0].set_registry("log_entries_kept: 1000");
    let mut cluster = cluster.run().await;
    for id in [2, 3] {
        let at = cluster.joining(id, &[]);
        cluster.nodes[at].set_registry("log_entries_kept: 1000");
    }
    let urls = cluster.urls();
    let load = Load::default();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(load.clone().write(writer, urls.clone()))).collect();
    let purged = cluster.nodes[0].url("/metrics");
    eventually("the log is purged", LONG, async || {
        let text = http::text(http::client().get(&purged)).await?;
        let line = text.lines().find(|line| line.contains("purged") && !line.starts_with('#'));
        ensure(line.is_some_and(|line| !line.ends_with(" 0")), || format!("{line:?}"))
    })
    .await;

    // By etcdctl: it gets its vote when it has caught up.
    let peer = |node: &Node| format!("--peer-urls=http://{}", node.peer);
    let added =
        etcdctl::ok(&cluster.nodes[0].client, &["member", "add", "x", &peer(&cluster.nodes[1])]);
    assert!(added.contains("Member                2 added to cluster"), "{added}");
    let unstarted = etcdctl::ok(&cluster.nodes[0].client, &["member", "list"]);
    assert!(unstarted.contains("2, unstarted"), "{unstarted}");
    let before = load.count();
    cluster.nodes[1].start();
    voters(&cluster, &[1, 2]).await;
    assert!(load.count() > before, "writes went on");
    let sent = "etcd_disk_backend_snapshot_duration_seconds_count";
    let page = http::text(http::client().get(cluster.nodes[0].url("/metrics"))).await;
    let page = page.expect("metrics");
    let line = page.lines().find(|line| line.starts_with(sent)).unwrap_or_default();
    assert!(!line.is_empty() && !line.ends_with(" 0"), "it came by a snapshot: {line}");
    let installed = cluster.nodes[1].process().output();

    // By our own command, as a learner, which is promoted when it is there.
    let text = member(&urls[1..2], &["add", &cluster.nodes[2].peer, "--learner"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.starts_with("member 3 added"), "{text}\n{installed}");
    let behind = refusal(&urls[..1], &["promote", "3"]);
    assert!(behind.contains("can only promote a learner member which is in sync with leader"));
    cluster.nodes[2].start();
    eventually("member 3 is promoted", LONG, async || {
        let output = member(&urls[1..2], &["promote", "3"]);
        ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())
    })
    .await;
    voters(&cluster, &[1, 2, 3]).await;
    for node in &mut cluster.nodes {
        node.ready().await;
    }
    holds(&cluster.nodes[1], &load).await;
    holds(&cluster.nodes[2], &load).await;

    // One moves: while it is away the others are told, and its leader finds it without a restart.
    let follower = (cluster.raft_leader().await + 1) % 3;
    cluster.nodes[follower].kill();
    cluster.nodes[follower].move_peer();
    let moved = (cluster.nodes[follower].id.to_string(), cluster.nodes[follower].peer.clone());
    let leader = cluster.raft_leader().await;
    let answer = member_json(&urls[leader..=leader], &["update", &moved.0, &moved.1]);
    assert!(answer.to_string().contains(&moved.1), "{answer}");
    cluster.nodes[follower].start();
    cluster.nodes[follower].ready().await;
    holds(&cluster.nodes[follower], &load).await;

    // The leader is removed, then one of the two that are left; each time a quorum goes on.
    let mut left: Vec<u64> = vec![1, 2, 3];
    while left.len() > 1 {
        let leader = eventually("a leader", LONG, async || {
            for node in cluster.nodes.iter().filter(|node| node.is_running()) {
                let state = http::get(&node.url("/v1/cluster")).await?;
                if let Some(leader) = state["leader"].as_u64().filter(|id| left.contains(id)) {
                    return Ok(leader);
                }
            }
            Err("none".to_owned())
        })
        .await;
        // The last removal is asked of the leader itself, the first of a follower.
        let asked = left.iter().find(|id| (**id == leader) == (left.len() == 2));
        let asked = usize::try_from(*asked.expect("one of them") - 1).expect("small");
        let before = load.count();
        eventually("the leader is removed", LONG, async || {
            let output = member(&urls[asked..=asked], &["remove", &leader.to_string()]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // A lost connection leaves open whether it was removed: it was, when it is not found any more.
            ensure(output.status.success() || said.contains("member not found"), || said)
        })
        .await;
        left.retain(|id| *id != leader);
        ends_for_ever(&mut cluster.nodes[usize::try_from(leader - 1).expect("small")]).await;
        voters(&cluster, &left).await;
        eventually("writes go on", LONG, async || {
            ensure(load.count() > before + 100, || "they stand".to_owned())
        })
        .await;
    }
    load.stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("the writer did not fail");
    }
    let last = cluster.nodes.iter().find(|node| node.is_running()).expect("one runs");
    holds(last, &load).await;
    eprintln!("{} puts acknowledged", load.count());

    // A removed member's number is never given again, nor does it come back with an empty directory.
    let removed = (1..=3u64).find(|id| !left.contains(id)).expect("two were removed");
    let url = [format!("http://{}", last.client)];
    let again = member_json(&url, &["add", "127.0.0.1:1"]);
    assert_eq!(again["id"], 4, "{again}");
    let known = format!("{}: \"{}\"", last.id, last.peer);
    let removed = &mut cluster.nodes[usize::try_from(removed - 1).expect("small")];
    let text = fs::read_to_string(removed.config()).expect("configuration");
    let (before, rest) = text.split_once("initial_cluster: {").expect("it is there");
    let (_, after) = rest.split_once('}').expect("it ends");
    let own = format!("{}: \"{}\"", removed.id, removed.peer);
    let text = format!("{before}initial_cluster: {{{known}, {own}}}{after}");
    fs::write(removed.config(), text).expect("write configuration");
    fs::remove_dir_all(removed.dir.join("data/registry")).expect("its data");
    removed.start();
    assert!(!removed.process().wait(LONG).success());
    let said = removed.process().output();
    let last = said.lines().last().unwrap_or_default();
    assert!(
        last.contains("was removed from cluster") || last.contains("belongs to cluster"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_changes_are_refused_and_strangers_stay_out() {
    let mut cluster = Cluster::start(1, &[]).await;
    let urls = cluster.urls();
    let (node, peer) = (cluster.nodes[0].client.clone(), cluster.nodes[0].peer.clone());
    for (args, text) in [
        (&["add", &peer][..], "etcdserver: Peer URLs already exists"),
        (&["add", "nowhere"], "write it as host:port"),
        (&["add", "ftp://127.0.0.1:1"], "etcdserver: given member URLs are invalid"),
        (&["remove", "7"], "etcdserver: member not found"),
        (&["remove", "1"], "etcdserver: re-configuration failed due to not enough started members"),
        (&["promote", "1"], "etcdserver: can only promote a learner member"),
        (&["promote", "9"], "etcdserver: member not found"),
        (&["update", "9", "127.0.0.1:1"], "etcdserver: member not found"),
    ] {
        let said = refusal(&urls, args);
        assert!(said.contains(text), "{args:?}: {said}");
    }
    let refused = etcdctl::run(&node, &["member", "remove", "7"], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("etcdserver: member not found"));

    // Not announced: it does not join, and is told what to do.
    let at = cluster.joining(2, &[]);
    let stranger = &mut cluster.nodes[at];
    stranger.start();
    assert!(!stranger.process().wait(LONG).success());
    let said = stranger.process().output();
    let last = said.lines().last().unwrap_or_default();
    let expected = format!("members are 1={peer}: add it first (`watchkeep member add");
    assert!(last.contains("member 2 is not one of cluster") && last.contains(&expected), "{last}");
    // Nor does it begin a cluster of its own beside the one that is there.
    let text = fs::read_to_string(stranger.config()).expect("configuration");
    fs::write(stranger.config(), text.replace("existing", "new")).expect("write");
    stranger.kill();
    stranger.start();
    assert!(!stranger.process().wait(LONG).success());
    let said = stranger.process().output();
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("belongs to cluster") && last.contains("existing"), "{last}");

    // A learner, and no second one; a voter, and no third before the second was up.
    let learner = member_json(&urls, &["add", &stranger.peer, "--learner"]);
    assert_eq!(learner["id"], 2, "{learner}");
    let second = refusal(&urls, &["add", "127.0.0.1:1", "--learner"]);
    assert!(second.contains("etcdserver: too many learner members in cluster"), "{second}");
    let removed = member_json(&urls, &["remove", "2"]);
    assert_eq!(removed["members"].as_array().map(Vec::len), Some(1), "{removed}");
    let voter = member_json(&urls, &["add", "127.0.0.1:1"]);
    assert_eq!(voter["id"], 3, "ids are not used again: {voter}");
    let third = refusal(&urls, &["add", "127.0.0.1:2"]);
    assert!(third.contains("not enough started members"), "{third}");
    // It counts for nothing before it is there: writes go on.
    etcdctl::ok(&node, &["put", "a", "1"]);
    let list = String::from_utf8(member(&urls, &["list"]).stdout).expect("UTF-8");
    assert!(list.contains("unstarted") && list.lines().count() == 3, "{list}");
}
