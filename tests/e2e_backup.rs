//! A backup is taken while clients write, checked, and restored: by `watchkeep backup` and `watchkeep restore`, and what
//! `etcdctl snapshot save` writes is one too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use watchkeep_catalog::Client;

mod common;
use common::{
    Cluster, Node,
    cluster::{WATCHKEEP, encode},
    etcdctl::{self, ok},
    eventually,
    wait::ensure,
};

const ROLES: [&str; 3] = ["registry"; 3];

fn watchkeep(args: &[&str]) -> Output {
    Command::new(WATCHKEEP).args(args).env_clear().output().expect("watchkeep")
}

/// What it prints when it succeeds.
fn said(args: &[&str]) -> String {
    let output = watchkeep(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "watchkeep {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it says when it fails.
fn refused(args: &[&str]) -> String {
    let output = watchkeep(args);
    assert!(!output.status.success(), "watchkeep {args:?} went through");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(of: &Path) -> &str {
    of.to_str().expect("UTF-8")
}

/// The value behind a name in a list of `name value` lines.
fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    line.trim()
}

/// Restores a file as the data of a laid-out node that was never started.
fn restore(node: &Node, members: &str, file: &Path, more: &[&str]) -> String {
    let data = node.dir.join("data");
    let id = node.id.to_string();
    let args = ["restore", path(file), "--data-dir", path(&data), "--node-id", &id];
    said(&[&args[..], &["--initial-cluster", members], more].concat())
}

fn members(cluster: &Cluster) -> String {
    let members = cluster.nodes.iter().map(|node| format!("{}={}", node.id, node.peer));
    members.collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_are_restored_of_one_file() {
    let old = Cluster::layout_roles(&ROLES, None, &[]).run().await;
    let at = &old.nodes[0].client;
    for value in ["1", "2", "3"] {
        ok(at, &["put", "counted", value]);
    }
    ok(at, &["put", "gone", "1"]);
    ok(at, &["del", "gone"]);
    let granted = ok(at, &["lease", "grant", "3000"]);
    let lease = granted.split(' ').nth(1).expect("lease <id> granted").to_owned();
    ok(at, &["put", "--lease", &lease, "leased", "v"]);
    // Of the member that has everything for sure: the one that answered the last put.
    let leader = &old.nodes[old.raft_leader().await];
    let alarm = json!({"action": "ACTIVATE", "memberID": "3", "alarm": "NOSPACE"});
    leader.v3("maintenance/alarm", &alarm).await.expect("alarm");
    let file = old.dir().join("backup");
    let printed = said(&["backup", "--endpoints", &leader.client, "--out", path(&file)]);
    assert!(!old.dir().join("backup.part").exists());
    let verified = said(&["backup", "verify", path(&file)]);
    assert_eq!(printed, verified);
    let leases: u32 = field(&verified, "leases ").parse().expect("a number");
    assert!(leases >= 1, "its own and the nodes'");
    let revision = field(&verified, "revision ");
    let then = format!("--rev={revision}");
    let before = ok(&leader.client, &["get", "-w", "json", &then, "--prefix", ""]);
    let before: Value = serde_json::from_str(&before).expect("JSON");
    ok(&leader.client, &["alarm", "disarm"]);
    ok(&leader.client, &["put", "after", "the backup"]);

    let mut new = Cluster::layout_roles(&ROLES, None, &[]);
    let members = members(&new);
    let restored: Vec<String> =
        new.nodes.iter().map(|node| restore(node, &members, &file, &[])).collect();
    let id = field(&restored[0], "new cluster ").to_owned();
    assert!(restored.iter().all(|text| field(text, "new cluster ") == id), "{restored:?}");
    let data = new.nodes[0].dir.join("data");
    let again = ["restore", path(&file), "--data-dir", path(&data), "--initial-cluster", &members];
    assert!(refused(&again).contains("is there already"), "existing data is not touched");

    new.nodes.iter_mut().for_each(Node::start);
    new.ready().await;
    for node in &new.nodes {
        let text = ok(&node.client, &["get", "-w", "json", "--prefix", ""]);
        let after: Value = serde_json::from_str(&text).expect("JSON");
        let own = |kv: &&Value| {
            !kv["key"].as_str().is_some_and(|key| key.starts_with(&encode("/w")[..2]))
        };
        let keys = |of: &Value| {
            of["kvs"].as_array().expect("kvs").iter().filter(own).cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(&after), keys(&before), "values, versions, revisions and leases are kept");
        assert_ne!(after["header"]["cluster_id"], before["header"]["cluster_id"]);
        assert_eq!(ok(&node.client, &["alarm", "list"]), "", "the disk is another");
    }
    let at = &new.nodes[1].client;
    assert_eq!(ok(at, &["get", &then, "counted"]), "counted\n3");
    assert!(
        ok(at, &["lease", "timetolive", &lease, "--keys"]).contains("leased"),
        "its key hangs on it"
    );
    ok(at, &["lease", "revoke", &lease]);
    assert_eq!(ok(at, &["get", "leased"]), "");
    assert_eq!(ok(at, &["get", "after"]), "", "it was put after the backup");
    let list = ok(at, &["member", "list"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(old.nodes.iter().all(|node| !list.contains(&node.peer)), "{list}");

    a_new_member_gets_what_was_restored(&mut new).await;
    an_old_member_is_kept_out(old, &mut new).await;
}

/// Not only what came after the restore: its log begins behind what the others were given.
async fn a_new_member_gets_what_was_restored(new: &mut Cluster) {
    let at = new.joining(4, &[]);
    let peer = format!("--peer-urls=http://{}", new.nodes[at].peer);
    ok(&new.nodes[0].client, &["member", "add", "node-4", &peer]);
    new.nodes[at].start();
    new.nodes[at].ready().await;
    let own = ["get", "--consistency=s", "counted"];
    assert_eq!(ok(&new.nodes[at].client, &own), "counted\n3");
    ok(&new.nodes[0].client, &["member", "remove", "4"]);
    new.nodes[at].kill();
}

/// With its old data, at the address of a new member.
async fn an_old_member_is_kept_out(mut old: Cluster, new: &mut Cluster) {
    old.nodes.iter_mut().for_each(Node::kill);
    let node = &mut new.nodes[2];
    node.kill();
    let data = node.dir.join("data");
    fs::rename(&data, node.dir.join("data.new")).expect("rename");
    fs::rename(old.nodes[2].dir.join("data"), &data).expect("rename");
    node.start();
    eventually("the others notice", Duration::from_secs(20), async || {
        let logs = new.nodes[..2].iter().map(|node| fs::read_to_string(node.log()));
        let logs: String = logs.filter_map(Result::ok).collect();
        ensure(logs.contains("check initial_cluster on both sides"), || logs)
    })
    .await;
    let own = ["get", "--consistency=s", "after"];
    assert_eq!(ok(&new.nodes[2].client, &own), "after\nthe backup", "it has its own old data");
    assert_eq!(ok(&new.nodes[0].client, &["get", "after"]), "", "and nobody takes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bumped_revision_makes_watches_begin_anew() {
    let old = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    ok(&old.nodes[0].client, &["put", "k", "v"]);
    let file = old.dir().join("backup");
    said(&["backup", "--endpoints", &old.urls()[0], "--out", path(&file)]);
    let mut new = Cluster::layout_roles(&["registry"], None, &[]);
    let members = members(&new);
    let data = new.nodes[0].dir.join("data");
    let most = format!("--bump-revision={}", i64::MAX);
    let error = refused(&[
        "restore",
        path(&file),
        "--data-dir",
        path(&data),
        "--node-id=1",
        "--initial-cluster",
        &members,
        &most,
        "--mark-compacted",
    ]);
    assert!(error.contains("goes beyond 4611686018427387904"), "{error}");
    assert!(!data.join("registry").exists(), "and nothing is made");
    let text =
        restore(&new.nodes[0], &members, &file, &["--bump-revision=1000000", "--mark-compacted"]);
    let revision: i64 = field(&text, "goes on at  revision ").parse().expect("a number");
    assert!(revision > 1_000_000, "{text}");
    new.nodes[0].start();
    new.ready().await;
    let at = &new.nodes[0].client;
    assert_eq!(ok(at, &["get", "k"]), "k\nv");
    let error = etcdctl::run(at, &["get", "--rev=2", "k"], "");
    assert!(String::from_utf8_lossy(&error.stderr).contains("has been compacted"));
    let put: Value = serde_json::from_str(&ok(at, &["put", "-w", "json", "k", "w"])).expect("JSON");
    assert!(put["header"]["revision"].as_i64() > Some(revision), "{put}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_and_does_not_stop_the_writes() {
    let cluster = Cluster::layout_roles(&ROLES, None, &[]).run().await;
    let client = Client::new(&cluster.urls()).expect("endpoints");
    // Enough for many pieces.
    for at in 0..400 {
        client.put(&format!("filler/{at}"), vec![b'x'; 20_000], 0).await.expect("put");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut count, mut longest) = (0u32, Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let key = format!("count/{writer}");
                    client.put(&key, count.to_string(), 0).await.expect("put");
                    longest = longest.max(began.elapsed());
                    count += 1;
                }
                (count, longest)
            })
        })
        .collect();
    let endpoints = cluster.endpoints();
    let dir = cluster.dir().to_owned();
    let backups = tokio::task::spawn_blocking(move || {
        (0..3)
            .map(|number| {
                let file = dir.join(format!("backup-{number}"));
                let text = said(&["backup", "--endpoints", &endpoints, "--out", path(&file)]);
                (file, field(&text, "revision ").parse::<i64>().expect("a number"))
            })
            .collect::<Vec<(PathBuf, i64)>>()
    });
    let backups = backups.await.expect("backups");
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        let (count, longest) = writer.await.expect("a writer");
        written += count;
        assert!(longest < Duration::from_secs(2), "a put took {longest:?}");
    }
    assert!(written > 20, "only {written} puts while three backups were taken");
    let revisions: Vec<i64> = backups.iter().map(|(_, revision)| *revision).collect();
    assert!(revisions.is_sorted() && revisions[0] < revisions[2], "{revisions:?}");

    // Cut off or damaged, it is refused by name and place; and a broken one never gets the name.
    let whole = fs::read(&backups[0].0).expect("backup");
    let bad = cluster.dir().join("bad");
    for (bytes, place) in [
        (whole[..whole.len() / 2].to_vec(), "it ends in the middle"),
        (b"not a backup".to_vec(), "it ends in the middle"),
        (flipped(&whole, whole.len() / 2), "a checksum does not fit"),
    ] {
        fs::write(&bad, bytes).expect("write");
        let error = refused(&["backup", "verify", path(&bad)]);
        assert!(
            error.contains(path(&bad)) && error.contains("offset") && error.contains(place),
            "{error}"
        );
        let data = cluster.dir().join("never");
        let error = refused(&["restore", path(&bad), "--data-dir", path(&data)]);
        assert!(error.contains("offset") && !data.join("registry").exists(), "{error}");
    }
    let nobody = cluster.dir().join("nobody");
    let error = refused(&["backup", "--endpoints", "http://127.0.0.1:1", "--out", path(&nobody)]);
    assert!(error.contains("127.0.0.1:1"), "{error}");
    assert!(!nobody.exists() && !cluster.dir().join("nobody.part").exists());
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 4;
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_etcdctl_saves_is_a_backup() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let at = &cluster.nodes[0].client;
    ok(at, &["put", "k", "v"]);
    let file = cluster.dir().join("snapshot.db");
    let printed = ok(at, &["snapshot", "save", path(&file)]);
    assert!(printed.contains("Snapshot saved at"), "{printed}");
    let verified = said(&["backup", "verify", path(&file)]);
    assert_eq!(field(&verified, "cluster ").split(", ").nth(1), Some("member 1"));
    // The same over JSON: base64 in lines, the last with nothing remaining.
    let url = format!("http://{at}/v3/maintenance/snapshot");
    let text =
        common::http::text(common::http::client().post(url).body("{}")).await.expect("snapshot");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let left = |line: &Value| {
        line["result"]["remaining_bytes"]
            .as_str()
            .map_or(0, |n| n.parse::<u64>().expect("a number"))
    };
    assert!(
        lines.len() >= 3 && left(&lines[0]) > 0 && left(&lines[lines.len() - 1]) == 0,
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line["result"]["version"] == "3.7.0"));
    let blobs = lines.iter().filter_map(|line| line["result"]["blob"].as_str());
    let bytes: Vec<u8> = blobs.flat_map(common::cluster::decode).collect();
    let by_json = cluster.dir().join("by-json");
    fs::write(&by_json, bytes).expect("write");
    said(&["backup", "verify", path(&by_json)]);
}
