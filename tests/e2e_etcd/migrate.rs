//! Moving in from a live etcd: everything is copied and followed while it is written to, an interrupted copy goes on,
//! a compaction in between is survived, and nothing that somebody else wrote is overwritten.

use std::{
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use watchkeep_catalog::Client;

use crate::common::{
    Cluster,
    cluster::WATCHKEEP,
    etcd::Etcd,
    etcdctl::{self, ok},
    eventually,
    process::Process,
    wait::ensure,
};

mod tls;

const LONG: Duration = Duration::from_secs(60);

fn command(from: &str, to: &str, args: &[&str]) -> Command {
    let mut command = Command::new(WATCHKEEP);
    command.args(["migrate", "--from", &format!("http://{from}"), "--to", &format!("http://{to}")]);
    command.args(args);
    command
}

fn run(from: &str, to: &str, args: &[&str]) -> Output {
    command(from, to, args).output().expect("watchkeep runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Keys, values and leases of a side, as JSON says them; revisions and versions left out.
fn everything(at: &str, prefix: &str) -> Vec<Value> {
    let text = ok(at, &["get", "--prefix", prefix, "-w", "json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
    let carried = |kv: Value| serde_json::json!([kv["key"], kv["value"], kv["lease"]]);
    kvs.into_iter().map(carried).collect()
}

fn follow(etcd: &str, target: &str, dir: &Path, args: &[&str]) -> Process {
    Process::spawn("migrate", command(etcd, target, args), &dir.join("migrate.log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_etcd_is_copied_and_followed_until_cut_over() {
    let cluster = Cluster::start(1, &[]).await;
    let (dir, target) = (cluster.dir(), cluster.nodes[0].client.clone());
    let etcd = Etcd::start(dir).await;
    let source = Client::new(&[format!("http://{}", etcd.client)]).expect("endpoint");
    for number in 0..500 {
        source.put(&format!("/apps/{number:04}"), format!("v{number}"), 0).await.expect("put");
    }
    source.put("/apps/large", vec![b'x'; 1_400_000], 0).await.expect("put");
    source.put("/watchkeep/theirs", "not copied", 0).await.expect("put");
    source.put("\u{1}odd", "first", 0).await.expect("put");
    let lease = source.grant(600).await.expect("grant");
    source.put("/apps/leased", "v", lease).await.expect("put");
    let dying = source.grant(3).await.expect("grant");
    source.put("/apps/dying", "v", dying).await.expect("put");
    let idle = source.grant(300).await.expect("grant");

    // Writers go on; keys come, change and go.
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (stop, source) = (Arc::clone(&stop), source.clone());
            tokio::spawn(async move {
                let mut writes = 0;
                while !stop.load(Ordering::SeqCst) {
                    let key = format!("/live/{writer}/{}", writes % 50);
                    if writes % 7 == 0 {
                        source.delete(&key).await.expect("delete");
                    } else {
                        source.put(&key, writes.to_string(), 0).await.expect("put");
                    }
                    writes += 1;
                }
            })
        })
        .collect();

    let mut process = follow(&etcd.client, &target, dir, &[]);
    eventually("it follows", LONG, async || {
        ensure(process.output().contains("following: revision"), || process.output())
    })
    .await;
    // Interrupted, while the source goes on and forgets: the next run mends what it has missed.
    process.kill();
    source.put("/apps/0001", "changed meanwhile", 0).await.expect("put");
    source.delete("/apps/0002").await.expect("delete");
    let head = source.put("/apps/0003", "changed meanwhile", 0).await.expect("put");
    ok(&etcd.client, &["compact", &head.to_string()]);
    let mut process = follow(&etcd.client, &target, dir, &[]);
    eventually("it compares from the start and follows again", LONG, async || {
        let output = process.output();
        let again = output.split("compacted further").nth(1).unwrap_or_default();
        ensure(again.contains("following: revision"), || output)
    })
    .await;
    eventually("a lease runs out on both sides", LONG, async || {
        ensure(ok(&target, &["get", "/apps/dying"]).is_empty(), || "it is there".to_owned())
    })
    .await;

    // Cut-over: no more writes, then the end, which compares both sides.
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("the writer did not fail");
    }
    process.terminate();
    let status = process.wait(LONG);
    let output = process.output();
    assert!(status.success(), "{output}");
    assert!(output.contains("1 keys under /watchkeep/ are not copied"), "{output}");
    assert!(output.contains("equal as of revision") && !output.contains("moved on"), "{output}");
    for prefix in ["/apps/", "/live/", "\u{1}"] {
        let copied = everything(&target, prefix);
        assert!(!copied.is_empty(), "{prefix}");
        assert_eq!(copied, everything(&etcd.client, prefix), "{prefix}");
    }
    assert!(ok(&target, &["get", "/watchkeep/theirs"]).is_empty());
    // Leases have kept their ids and their TTL.
    let left = ok(&target, &["lease", "timetolive", &format!("{lease:x}"), "--keys"]);
    assert!(left.contains("granted with TTL(600s)") && left.contains("/apps/leased"), "{left}");
    let left = ok(&target, &["lease", "timetolive", &format!("{idle:x}")]);
    assert!(left.contains("granted with TTL(300s)"), "{left}");

    // Clients write to the target now: the copy would overwrite them, so it is refused, until it is forced.
    ok(&target, &["put", "/apps/0004", "by a client"]);
    source.put("/apps/0004", "late", 0).await.expect("put");
    let refused = run(&etcd.client, &target, &["--until-synced"]);
    let text = said(&refused);
    assert!(
        !refused.status.success()
            && text.contains("\"/apps/0004\" of the target was written by somebody else"),
        "{text}"
    );
    assert_eq!(ok(&target, &["get", "/apps/0004", "--print-value-only"]), "by a client");
    let forced = run(&etcd.client, &target, &["--until-synced", "--force"]);
    assert!(forced.status.success(), "{}", said(&forced));
    // Also where the source has not changed the key since: by comparing everything.
    ok(&target, &["put", "/apps/0005", "by a client"]);
    let forced = run(&etcd.client, &target, &["--until-synced", "--force"]);
    assert!(forced.status.success(), "{}", said(&forced));
    assert_ne!(ok(&target, &["get", "/apps/0005", "--print-value-only"]), "by a client");
    assert_eq!(ok(&target, &["get", "/apps/0004", "--print-value-only"]), "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_alone_and_what_is_refused() {
    let cluster = Cluster::start(1, &[]).await;
    let target = cluster.nodes[0].client.clone();
    let etcd = Etcd::start(cluster.dir()).await;
    for key in ["/a/1", "/a/2", "/b/1"] {
        ok(&etcd.client, &["put", key, "v"]);
    }
    ok(&target, &["put", "/b/own", "v"]);
    // Another's keys under another prefix do no harm.
    let copied = run(&etcd.client, &target, &["--until-synced", "--prefix", "/a/"]);
    assert!(
        copied.status.success() && said(&copied).contains(": 2 keys, hash"),
        "{}",
        said(&copied)
    );
    assert_eq!(everything(&target, "/a/"), everything(&etcd.client, "/a/"));
    assert_eq!(everything(&target, "/b/").len(), 1);
    for (args, text) in [
        (
            &["--until-synced", "--prefix", "/b/"][..],
            "already has keys under the prefix, \"/b/own\" among them",
        ),
        (&["--until-synced"], "already has keys under the prefix"),
        (&["--until-synced", "--prefix", "/watchkeep/x"], "belong to Watchkeep itself"),
    ] {
        let refused = run(&etcd.client, &target, args);
        assert!(!refused.status.success() && said(&refused).contains(text), "{}", said(&refused));
    }
    let same = run(&target, &target, &["--until-synced", "--force"]);
    let error = said(&same);
    assert!(!same.status.success() && error.contains("are the same cluster"), "{error}");
    // A source that checks users.
    for args in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        ok(&etcd.client, args);
    }
    let refused = run(&etcd.client, &target, &["--until-synced", "--prefix", "/a/"]);
    assert!(!refused.status.success() && said(&refused).contains("source: "), "{}", said(&refused));
    let again = ["--until-synced", "--prefix", "/a/", "--from-user", "root:secret"];
    let copied = run(&etcd.client, &target, &again);
    assert!(copied.status.success(), "{}", said(&copied));
    let nobody = run("127.0.0.1:1", &target, &["--until-synced"]);
    assert!(
        !nobody.status.success()
            && said(&nobody).contains("source: read the revision at http://127.0.0.1:1"),
        "{}",
        said(&nobody)
    );
    let wrong = Command::new(WATCHKEEP).args(["migrate", "--from", "etcd"]).output().expect("runs");
    assert!(!wrong.status.success() && said(&wrong).contains("--from"), "{}", said(&wrong));
    assert!(etcdctl::run(&target, &["get", "/b/own"], "").status.success());
}
