//! etcdctl 3.4 against one node and against each of three: what it prints is what it prints at a real etcd.

use std::{path::Path, time::Duration};

use serde_json::Value;

use crate::common::{
    Cluster,
    etcd::Etcd,
    etcdctl::{self, ok, ok_with},
    eventually,
    process::Process,
    wait::ensure,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_node_prints_what_etcd_prints() {
    let cluster = Cluster::start(1, &[]).await;
    let etcd = Etcd::start(cluster.dir()).await;
    let expected = transcript(&etcd.client, "/t/", cluster.dir()).await;
    assert_eq!(transcript(&cluster.nodes[0].client, "/t/", cluster.dir()).await, expected);
    assert!(expected.contains("PUT\n/t/watched"), "{expected}");
    members_and_status(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_nodes_prints_what_etcd_prints() {
    let cluster = Cluster::start(3, &[]).await;
    let etcd = Etcd::start(cluster.dir()).await;
    let expected = transcript(&etcd.client, "/t/", cluster.dir()).await;
    for node in &cluster.nodes {
        assert_eq!(transcript(&node.client, "/t/", cluster.dir()).await, expected, "{}", node.name);
    }
    // With all endpoints at once, as an operator would.
    assert_eq!(transcript(&cluster.endpoints(), "/t/", cluster.dir()).await, expected);
    members_and_status(&cluster);
}

/// Runs every command of the issue and gives what was printed, lease ids and times replaced.
/// It leaves no key behind under `prefix`.
async fn transcript(at: &str, prefix: &str, dir: &Path) -> String {
    let key = |name: &str| format!("{prefix}{name}");
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let mut out = Vec::new();
    let mut say = |args: &[&str]| out.push(format!("$ {}\n{}", args.join(" "), ok(at, args)));
    for (name, value) in [(&a, "3"), (&b, "2"), (&c, "1"), (&a, "4")] {
        say(&["put", name, value]);
    }
    say(&["put", "--prev-kv", &b, "two"]);
    for args in [
        &["get", &a][..],
        &["get", &key("absent")],
        &["get", "--prefix", prefix],
        &["get", "--prefix", "--keys-only", prefix],
        &["get", "--prefix", "--print-value-only", "--order=DESCEND", "--sort-by=VALUE", prefix],
        &["get", "--prefix", "--keys-only", "--order=ASCEND", "--sort-by=CREATE", prefix],
        &["get", "--prefix", "--keys-only", "--order=DESCEND", "--sort-by=MODIFY", prefix],
        &["get", "--prefix", "--keys-only", "--order=DESCEND", "--sort-by=VERSION", prefix],
        &["get", "--prefix", "--limit=2", prefix],
        &["get", "--from-key", "--keys-only", "--limit=2", &b],
        &["get", &a, &c],
        &["get", "--hex", &a],
    ] {
        say(args);
    }
    let first = revision(at, &a);
    say(&["put", &a, "5"]);
    let then = format!("--rev={first}");
    out.push(format!("an old revision\n{}", ok(at, &["get", &then, &a])));
    transactions(at, prefix, &mut out);
    leases(at, prefix, &mut out);
    out.push(watch(at, prefix, dir).await);
    for args in [&["del", "--prev-kv", &a][..], &["del", &a], &["del", "--prefix", prefix]] {
        out.push(format!("$ {}\n{}", args.join(" "), ok(at, args)));
    }
    let future = etcdctl::run(at, &["get", "--rev=999999999", &a], "");
    assert!(!future.status.success());
    out.push(error_of(&future.stderr));
    out.join("\n")
}

fn transactions(at: &str, prefix: &str, out: &mut Vec<String>) {
    for (compare, then) in [
        ("value(\"{p}a\") = \"5\"", "put {p}x 1\nget {p}x"),
        ("value(\"{p}a\") = \"6\"", "put {p}x 2"),
        ("version(\"{p}x\") > \"0\"", "del {p}x\nput {p}y 1"),
        ("create(\"{p}absent\") = \"0\"", "get {p}y"),
        ("mod(\"{p}absent\") > \"0\"", "get {p}y"),
    ] {
        let text = format!("{compare}\n\n{then}\n\nget {{p}}b\n\n").replace("{p}", prefix);
        out.push(format!("$ txn <<<\n{text}{}", ok_with(at, &["txn"], &text)));
    }
    let twice = format!("\nput {prefix}x 1\nput {prefix}x 2\n\n\n");
    let refused = etcdctl::run(at, &["txn"], &twice);
    assert!(!refused.status.success(), "a key put twice in one txn must be refused");
    out.push(error_of(&refused.stderr));
}

fn leases(at: &str, prefix: &str, out: &mut Vec<String>) {
    let granted = ok(at, &["lease", "grant", "600"]);
    let id = granted.split(' ').nth(1).expect("lease <id> granted").to_owned();
    let leased = format!("{prefix}leased");
    let mut lines = vec![
        granted,
        ok(at, &["put", &format!("--lease={id}"), &leased, "v"]),
        ok(at, &["lease", "timetolive", &id, "--keys"]),
        ok(at, &["lease", "keep-alive", "--once", &id]),
    ];
    assert!(ok(at, &["lease", "list"]).contains(&id));
    lines.push(ok(at, &["lease", "revoke", &id]));
    lines.push(ok(at, &["get", &leased]));
    lines.push(ok(at, &["lease", "timetolive", &id]));
    let gone = etcdctl::run(at, &["lease", "revoke", &id], "");
    assert!(!gone.status.success());
    lines.push(error_of(&gone.stderr));
    let unknown = etcdctl::run(at, &["put", "--lease=7b", &leased, "v"], "");
    assert!(!unknown.status.success());
    lines.push(error_of(&unknown.stderr));
    let text = lines.join("\n").replace(&id, "<lease>");
    // Seconds pass between the grant and the question.
    let left = regex::Regex::new(r"remaining\((600|59[0-9])s\)").expect("a pattern");
    out.push(left.replace(&text, "remaining(<nearly all>)").into_owned());
}

/// A watch from a revision in the past, with previous values, until it has shown the last change.
async fn watch(at: &str, prefix: &str, dir: &Path) -> String {
    let (key, last) = (format!("{prefix}watched"), format!("{prefix}watched-last"));
    ok(at, &["put", &key, "one"]);
    let from = format!("--rev={}", revision(at, &key));
    ok(at, &["put", &key, "two"]);
    let command = etcdctl::command(at, &["watch", "--prefix", &from, "--prev-kv", &key]);
    let log = dir.join("etcdctl-watch.log");
    let _ = std::fs::remove_file(&log);
    let process = Process::spawn("etcdctl watch", command, &log);
    // It has caught up with the past before the rest happens.
    let sees = async |word: &str| {
        eventually("watch", Duration::from_secs(10), async || {
            ensure(process.output().contains(word), || process.output())
        })
        .await;
    };
    sees("two").await;
    ok(at, &["del", &key]);
    ok(at, &["put", &last, "end-of-watch"]);
    sees("end-of-watch\n").await;
    let out = process.output();
    ok(at, &["del", "--prefix", &key]);
    out
}

fn members_and_status(cluster: &Cluster) {
    for node in &cluster.nodes {
        let list = ok(&node.client, &["member", "list"]);
        assert_eq!(list.lines().count(), cluster.nodes.len(), "{list}");
        for other in &cluster.nodes {
            let line = list.lines().find(|line| line.contains(&format!("http://{}", other.client)));
            let line = line.unwrap_or_else(|| panic!("{} is not in {list}", other.client));
            assert!(line.contains(", started, ") && line.contains(&other.peer), "{line}");
            assert!(line.contains(&format!(", {}, ", other.name)), "{line}");
        }
    }
    let status = ok(&cluster.endpoints(), &["endpoint", "status", "-w", "json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let status = status.as_array().expect("one entry per endpoint");
    assert_eq!(status.len(), cluster.nodes.len());
    let leaders: Vec<u64> =
        status.iter().map(|entry| entry["Status"]["leader"].as_u64().expect("a leader")).collect();
    assert!(leaders.iter().all(|leader| *leader == leaders[0] && *leader != 0), "{leaders:?}");
    let leads = status.iter().filter(|entry| entry["Status"]["header"]["member_id"] == leaders[0]);
    assert_eq!(leads.count(), 1, "{status:#?}");
    for entry in status {
        let entry = &entry["Status"];
        assert!(entry["raftTerm"].as_u64() > Some(0) && entry["raftIndex"].as_u64() > Some(0));
        assert!(entry["dbSize"].as_i64() > Some(0), "{entry}");
        assert!(entry["version"].as_str().is_some_and(|version| version.starts_with("3.")));
        let cluster_id = &entry["header"]["cluster_id"];
        assert_eq!(cluster_id, &status[0]["Status"]["header"]["cluster_id"]);
        assert_ne!(cluster_id.as_u64(), None);
    }
    // Endpoints as URLs: etcdctl 3.4 then writes the URL where HTTP/2 wants an authority.
    let table = ok(&cluster.urls().join(","), &["endpoint", "status", "-w", "table", "--cluster"]);
    assert!(cluster.nodes.iter().all(|node| table.contains(&node.client)), "{table}");
    let health = etcdctl::run(&cluster.endpoints(), &["endpoint", "health"], "");
    let said = String::from_utf8_lossy(&[health.stdout, health.stderr].concat()).into_owned();
    assert!(health.status.success(), "{said}");
    assert_eq!(said.matches("is healthy").count(), cluster.nodes.len(), "{said}");
}

/// The revision at which a key was last changed.
fn revision(at: &str, key: &str) -> i64 {
    let answer: Value = serde_json::from_str(&ok(at, &["get", "-w", "json", key])).expect("JSON");
    answer["kvs"][0]["mod_revision"].as_i64().expect("a revision")
}

/// The error's own words, without the client's time stamp and retry notes before it.
fn error_of(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().rfind(|line| line.starts_with("Error:")).unwrap_or(&text).to_owned()
}
