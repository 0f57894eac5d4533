//! What an operator says to a running registry: who is to lead, and how far back history goes.

use std::{fs, process::Output, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node,
    cluster::encode,
    etcdctl::{self, ok},
    eventually, http,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);

/// Who leads in which term, as this node has it.
fn lead(node: &Node) -> (u64, u64) {
    let status = ok(&node.client, &["endpoint", "status", "-w", "json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let status = &status[0]["Status"];
    (status["leader"].as_u64().expect("a leader"), status["raftTerm"].as_u64().expect("a term"))
}

fn move_leader(at: &Node, to: &Node) -> Output {
    etcdctl::run(&at.client, &["move-leader", &format!("{:x}", to.id)], "")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leadership_goes_to_a_member_that_is_there_and_to_no_other() {
    let mut cluster = Cluster::layout_roles(&["registry"; 3], None, &[]).run().await;
    let at = cluster.raft_leader().await;
    let (other, gone) = ((at + 1) % 3, (at + 2) % 3);
    let before = lead(&cluster.nodes[at]);
    // It leads already: nothing happens.
    assert!(move_leader(&cluster.nodes[at], &cluster.nodes[at]).status.success());
    ok(&cluster.nodes[at].client, &["put", "a", "1"]);
    assert_eq!(lead(&cluster.nodes[at]), before);
    cluster.nodes[gone].kill();
    let refused = move_leader(&cluster.nodes[at], &cluster.nodes[gone]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(
        said.contains("etcdserver: request timed out, leader transfer took too long"),
        "{said}"
    );
    ok(&cluster.nodes[at].client, &["put", "a", "2"]);
    assert_eq!(lead(&cluster.nodes[at]), before, "the leader has not been disturbed");
    // When it is answered, it has happened.
    let moved = move_leader(&cluster.nodes[at], &cluster.nodes[other]);
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    assert_eq!(lead(&cluster.nodes[other]), (cluster.nodes[other].id as u64, before.1 + 1));
    ok(&cluster.nodes[at].client, &["put", "a", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_member_that_is_told_to_lead_goes_on() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let node = &cluster.nodes[0];
    let moved = move_leader(node, node);
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    ok(&node.client, &["put", "a", "1"]);
    let unknown = etcdctl::run(&node.client, &["member", "remove", "99"], "");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("etcdserver: member not found"), "{said}");
}

/// Whether the key can be read as it was at a revision.
fn readable(node: &Node, key: &str, revision: i64) -> Result<(), String> {
    let output = etcdctl::run(&node.client, &["get", key, &format!("--rev={revision}")], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn put(node: &Node, key: &str, value: &str) -> i64 {
    let answer = ok(&node.client, &["put", "-w", "json", key, value]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["header"]["revision"].as_i64().expect("a revision")
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_by_itself_by_age_and_by_number() {
    let by_age = Cluster::layout_roles(&["registry"; 3], None, &[]);
    by_age.nodes.iter().for_each(|node| node.set_registry("auto_compaction_retention_ms: 2000"));
    let by_number = Cluster::layout_roles(&["registry"], None, &[]);
    by_number.nodes[0].set_registry("auto_compaction_revisions: 10");
    let kept = Cluster::layout_roles(&["registry"], None, &[]);
    let (by_age, by_number, kept) = tokio::join!(by_age.run(), by_number.run(), kept.run());
    let clusters = [&by_age, &by_number, &kept];
    let first = clusters.map(|cluster| put(&cluster.nodes[0], "k", "first"));
    let last = clusters.map(|cluster| {
        let put = |last: i64, n: i32| last.max(put(&cluster.nodes[0], "k", &n.to_string()));
        (0..20).fold(0, put)
    });
    for (cluster, first) in clusters.iter().zip(first).take(2) {
        eventually("history is compacted", SOON, async || {
            let gone = readable(&cluster.nodes[0], "k", first);
            let gone = gone.err().ok_or("it can be read still")?;
            ensure(gone.contains("required revision has been compacted"), || gone)
        })
        .await;
    }
    for cluster in clusters {
        assert_eq!(ok(&cluster.nodes[0].client, &["get", "k"]), "k\n19", "what is now stays");
    }
    // The member itself may have written one or two since.
    assert_eq!(readable(&by_number.nodes[0], "k", last[1] - 5), Ok(()), "the newest are kept");
    assert_eq!(readable(&kept.nodes[0], "k", first[2]), Ok(()), "nothing goes unasked");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_old_history_is_is_known_after_a_start() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]);
    cluster.nodes[0].set_registry("auto_compaction_retention_ms: 86400000");
    let mut cluster = cluster.run().await;
    let node = &mut cluster.nodes[0];
    let (first, second) = (put(node, "k", "first"), put(node, "k", "second"));
    let notes = node.dir.join("data/registry/history");
    let noted = fs::read_to_string(&notes).expect("notes are kept from the beginning");
    let (now, _) = noted.split_once(' ').expect("a time and a revision");
    let now: u64 = now.parse().expect("milliseconds");
    node.kill();
    let yesterday = now - 90_000_000;
    fs::write(&notes, format!("{yesterday} {second}\n")).expect("written");
    node.start();
    node.ready().await;
    eventually("history of yesterday is compacted", SOON, async || {
        readable(&cluster.nodes[0], "k", first).err().map(drop).ok_or_else(|| "it is there".into())
    })
    .await;
    assert_eq!(readable(&cluster.nodes[0], "k", second), Ok(()), "what it came to stays");
}

/// More under way than was allowed: refused at once by gRPC and by JSON, and taken again when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_at_once() {
    const MAX: usize = 8;
    let cluster = Cluster::layout_roles(&["registry"; 3], None, &[]);
    cluster.nodes.iter().for_each(|node| node.set_registry(&format!("requests_max: {MAX}")));
    let mut cluster = cluster.run().await;
    ok(&cluster.nodes[0].client, &["put", "a", "0"]);
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    // Without a quorum each waits for its answer, and keeps its place.
    let url = format!("http://{}", cluster.nodes[0].client);
    let mut puts = tokio::task::JoinSet::new();
    let client = etcd_client::Client::connect([&url], None).await.expect("connect");
    for _ in 0..8 * MAX {
        let mut client = client.clone();
        puts.spawn(async move { client.put("a", "1", None).await.map(drop) });
    }
    let mut refused = 0;
    while refused < 7 * MAX {
        let answer = tokio::time::timeout(SOON, puts.join_next()).await.expect("in time");
        let error = answer.expect("a put").expect("no panic").expect_err("no quorum").to_string();
        // They all come before one of those that wait has waited for long enough.
        assert!(error.contains("etcdserver: too many requests"), "{error}");
        refused += 1;
    }
    let put = json!({"key": encode("a"), "value": encode("1")});
    let by_json = http::client().post(format!("{url}/v3/kv/put")).json(&put);
    let (status, body) = http::send(by_json).await.expect("an answer");
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
    while let Some(waited) = puts.join_next().await {
        let error = waited.expect("no panic").expect_err("no quorum").to_string();
        assert!(error.contains("etcdserver: "), "{error}");
    }
    for node in &mut cluster.nodes[1..] {
        node.start();
        node.ready().await;
    }
    ok(&cluster.nodes[0].client, &["put", "a", "2"]);
}
