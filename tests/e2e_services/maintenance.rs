//! Maintenance as an operator does it: alarms and what they refuse, storage nearly full, hashes, downgrade, another
//! leader; through etcdctl and the JSON form.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::transport::Endpoint;
use watchkeep_api::etcdserverpb::{HashRequest, maintenance_client::MaintenanceClient};

use crate::common::{
    Cluster, Node,
    cluster::encode,
    etcd::Etcd,
    etcdctl::{self, ok},
    eventually, http,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);
const ROLES: [&str; 3] = ["registry"; 3];

/// What etcdctl says when it fails.
fn refused(at: &str, args: &[&str]) -> String {
    let output = etcdctl::run(at, args, "");
    assert!(!output.status.success(), "etcdctl {args:?} went through");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().rfind(|line| line.starts_with("Error:")).unwrap_or(&text).to_owned()
}

async fn alarm(node: &Node, body: &Value) -> Value {
    node.v3("maintenance/alarm", body).await.expect("alarm")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_space_nothing_is_added_and_the_rest_goes_on() {
    let cluster = Cluster::layout_roles(&ROLES, None, &[]).run().await;
    let (node, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (at, elsewhere) = (&node.client[..], &other.client[..]);
    ok(at, &["put", "before", "1"]);
    let granted = ok(at, &["lease", "grant", "600"]);
    let lease = granted.split(' ').nth(1).expect("lease <id> granted");

    let raised = json!({"action": "ACTIVATE", "memberID": "2", "alarm": "NOSPACE"});
    let answer = alarm(node, &raised).await;
    assert_eq!(answer["alarms"], json!([{"memberID": "2", "alarm": "NOSPACE"}]), "{answer}");
    assert_eq!(ok(elsewhere, &["alarm", "list"]), "memberID:2 alarm:NOSPACE");
    let space = "etcdserver: mvcc: database space exceeded";
    for args in [&["put", "after", "1"][..], &["lease", "grant", "60"]] {
        assert!(refused(at, args).contains(space), "{args:?}");
        assert!(refused(elsewhere, args).contains(space), "{args:?}");
    }
    let put = json!({"key": encode("after"), "value": encode("1")});
    let error = node.v3("kv/put", &put).await.expect_err("refused");
    assert!(error.contains("database space exceeded") && error.contains("\"code\":8"), "{error}");
    let txn = json!({"failure": [{"request_put": put}], "success": [{"request_delete_range": {"key": encode("x")}}]});
    let error = node.v3("kv/txn", &txn).await.expect_err("a txn that could put is refused");
    assert!(error.contains("database space exceeded"), "{error}");
    let status: Value =
        serde_json::from_str(&ok(at, &["endpoint", "status", "-w", "json"])).expect("JSON");
    assert_eq!(status[0]["Status"]["errors"], json!(["memberID:2 alarm:NOSPACE"]), "{status}");

    assert_eq!(ok(elsewhere, &["get", "before"]), "before\n1");
    assert_eq!(ok(elsewhere, &["del", "before"]), "1");
    assert_eq!(ok(at, &["lease", "revoke", lease]), format!("lease {lease} revoked"));
    assert_eq!(ok(at, &["compaction", "2"]), "compacted revision 2");

    assert_eq!(ok(elsewhere, &["alarm", "disarm"]), "memberID:2 alarm:NOSPACE");
    assert_eq!(ok(at, &["alarm", "list"]), "");
    // Also on a member that has not heard of it yet.
    for node in &cluster.nodes {
        assert_eq!(ok(&node.client, &["put", "after", "2"]), "OK");
    }
    let of_no_kind = alarm(node, &json!({"action": "ACTIVATE", "memberID": "1"})).await;
    assert_eq!(of_no_kind["alarms"], Value::Null, "{of_no_kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_cluster_is_read_and_not_changed() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let (node, at) = (&cluster.nodes[0], &cluster.nodes[0].client[..]);
    ok(at, &["put", "k", "v"]);
    let granted = ok(at, &["lease", "grant", "1"]);
    let lease = granted.split(' ').nth(1).expect("lease <id> granted");
    ok(at, &["put", "--lease", lease, "leased", "v"]);
    alarm(node, &json!({"action": "ACTIVATE", "memberID": "1", "alarm": "CORRUPT"})).await;
    for args in [
        &["put", "k", "w"][..],
        &["del", "k"],
        &["compaction", "2"],
        &["lease", "grant", "60"],
        &["lease", "revoke", lease],
    ] {
        assert!(refused(at, args).contains("etcdserver: corrupt cluster"), "{args:?}");
    }
    assert_eq!(ok(at, &["get", "k"]), "k\nv");
    let error = node.v3("kv/put", &json!({"key": encode("k")})).await.expect_err("refused");
    assert!(error.contains("\"code\":15"), "DATA_LOSS: {error}");
    ok(at, &["alarm", "disarm"]);
    // The lease ran out meanwhile: that is made up for.
    eventually("the lease is gone", SOON, async || {
        let left = node.v3("kv/range", &json!({"key": encode("leased")})).await?;
        ensure(left["kvs"].as_array().is_none_or(Vec::is_empty), || format!("{left}"))
    })
    .await;
    assert_eq!(ok(at, &["put", "k", "w"]), "OK");
}

/// Status and body of a page of health.
async fn page(at: &str, path: &str) -> (u16, String) {
    let got = http::send(http::client().get(format!("http://{at}{path}"))).await;
    let (status, body) = got.expect("an answer");
    (status.as_u16(), body)
}

/// A load balancer is told of an alarm as by etcd: beside a real one as far as that has the page, else as 3.7 has it.
#[tokio::test(flavor = "multi_thread")]
async fn health_with_an_alarm() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let at = &cluster.nodes[0].client[..];
    let etcd = Etcd::start(cluster.dir()).await;
    let corrupt = "[-]data_corruption failed: alarm activated: CORRUPT\n";
    let rest = "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\n";
    let sick = || (503, format!("{corrupt}{rest}\n"));
    let fine = || (200, "ok\n".to_owned());
    for (alarm, other) in [("NOSPACE", "CORRUPT"), ("CORRUPT", "NOSPACE")] {
        let raised = json!({"action": "ACTIVATE", "alarm": alarm});
        for endpoint in [at, &etcd.client] {
            let url = format!("http://{endpoint}/v3/maintenance/alarm");
            http::post(&url, &raised).await.expect("raised");
        }
        let (status, body) = page(at, "/health").await;
        let reason = format!("{{\"health\":\"false\",\"reason\":\"ALARM {alarm}\"}}\n");
        assert_eq!((status, body), (503, reason));
        for path in [
            "/health".to_owned(),
            "/health?serializable=true".to_owned(),
            format!("/health?exclude={alarm}"),
            format!("/health?exclude={other}"),
            format!("/health?exclude={other}&exclude={alarm}"),
        ] {
            let read = |(status, body): (u16, String)| {
                let body: Value = serde_json::from_str(&body).expect("JSON");
                (status, body["health"].clone())
            };
            let (ours, theirs) = (page(at, &path).await, page(&etcd.client, &path).await);
            assert_eq!(read(ours), read(theirs), "{path} with {alarm}");
        }
        let is_corrupt = alarm == "CORRUPT";
        let expected = if is_corrupt { sick() } else { fine() };
        assert_eq!(page(at, "/readyz").await, expected);
        let expected =
            if is_corrupt { sick() } else { (200, format!("[+]data_corruption ok\n{rest}ok\n")) };
        assert_eq!(page(at, "/readyz?verbose").await, expected);
        let alone = if is_corrupt { (503, format!("{corrupt}\n")) } else { fine() };
        assert_eq!(page(at, "/readyz/data_corruption").await, alone);
        // What is excluded is not asked, and an alarm's name is no check's.
        assert_eq!(page(at, "/readyz?exclude=data_corruption").await, fine());
        let verbose = page(at, "/readyz?verbose&exclude=data_corruption").await;
        assert_eq!(verbose, (200, format!("{rest}ok\n")));
        let expected = if is_corrupt { 503 } else { 200 };
        assert_eq!(page(at, "/readyz?exclude=CORRUPT").await.0, expected);
        // Starting it again would not help.
        assert_eq!(page(at, "/livez").await, fine());
        let url = format!("http://{at}/v3/maintenance/alarm");
        let ended = json!({"action": "DEACTIVATE", "memberID": "0", "alarm": alarm});
        http::post(&url, &ended).await.expect("ended");
        http::post(&url.replace(at, &etcd.client), &ended).await.expect("ended");
    }
    assert_eq!(
        page(at, "/health").await,
        (200, "{\"health\":\"true\",\"reason\":\"\"}".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_free_space_raises_the_alarm_until_it_is_disarmed() {
    let too_much = [("registry", json!({"nospace_free_bytes": u64::MAX}))];
    let mut cluster = Cluster::layout_roles(&["registry"], None, &too_much).run().await;
    let at = cluster.nodes[0].client.clone();
    eventually("NOSPACE", SOON, async || {
        let list = ok(&at, &["alarm", "list"]);
        ensure(list == "memberID:1 alarm:NOSPACE", || list)
    })
    .await;
    assert!(refused(&at, &["put", "k", "v"]).contains("database space exceeded"));
    // Disarmed without space it comes back.
    ok(&at, &["alarm", "disarm"]);
    eventually("NOSPACE again", SOON, async || {
        let list = ok(&at, &["alarm", "list"]);
        ensure(list == "memberID:1 alarm:NOSPACE", || list)
    })
    .await;
    let raised = "etcd_debugging_server_alarms{alarm_type=\"NOSPACE\",server_id=\"1\"} 1";
    eventually("the metric", SOON, async || {
        let url = format!("http://{at}/metrics");
        let metrics = http::text(http::client().get(url)).await?;
        let free = metrics.lines().find_map(|l| l.strip_prefix("watchkeep_registry_free_bytes "));
        let free: u64 = free.and_then(|free| free.parse().ok()).unwrap_or_default();
        ensure(metrics.contains(raised) && free > 0, || metrics)
    })
    .await;

    // There is space now: a smaller threshold stands for it.
    let node = &mut cluster.nodes[0];
    node.kill();
    let text = std::fs::read_to_string(node.config()).expect("configuration");
    let text = text.replace(&u64::MAX.to_string(), "1");
    std::fs::write(node.config(), text).expect("configuration");
    node.start();
    node.ready().await;
    assert!(refused(&at, &["put", "k", "v"]).contains("database space exceeded"), "it lasts");
    assert_eq!(ok(&at, &["alarm", "disarm"]), "memberID:1 alarm:NOSPACE");
    assert_eq!(ok(&at, &["put", "k", "v"]), "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_hash_alike_at_any_revision() {
    let cluster = Cluster::layout_roles(&ROLES, None, &[]).run().await;
    let all = cluster.endpoints();
    let at = &cluster.nodes[0].client;
    for round in 0..30 {
        ok(at, &["put", &format!("k{}", round % 7), &format!("v{round}")]);
    }
    ok(at, &["del", "k3"]);
    ok(at, &["compaction", "20"]);
    let hashes = |revision: i64| {
        let rev = format!("--rev={revision}");
        let text = ok(&all, &["endpoint", "hashkv", &rev, "-w", "json"]);
        let found: Value = serde_json::from_str(&text).expect("JSON");
        let of = |entry: &Value| entry["HashKV"]["hash"].as_u64().expect("a hash");
        found.as_array().expect("entries").iter().map(of).collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    for revision in [20, 25, 32] {
        // A member that is behind says that the revision is in the future: etcdctl then fails.
        let found = eventually("hashes", SOON, async || {
            let output =
                etcdctl::run(&all, &["endpoint", "hashkv", &format!("--rev={revision}")], "");
            ensure(output.status.success(), || {
                String::from_utf8_lossy(&output.stderr).into_owned()
            })?;
            Ok(hashes(revision))
        })
        .await;
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|hash| *hash == found[0]), "at {revision}: {found:?}");
        seen.push(found[0]);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "another revision, another hash");
    for (revision, text) in [("19", "has been compacted"), ("99", "is a future revision")] {
        let body = json!({"revision": revision});
        let error = cluster.nodes[0].v3("maintenance/hashkv", &body).await.expect_err("refused");
        assert!(error.contains(text), "{error}");
    }
    let answer = cluster.nodes[0].v3("maintenance/hashkv", &json!({"revision": "25"})).await;
    let answer = answer.expect("hash");
    assert_eq!(
        (&answer["compact_revision"], &answer["hash_revision"]),
        (&json!("20"), &json!("25"))
    );

    // `Hash` is of all there is, as it is now: leases count, which have no revision.
    let before = whole_hash(&cluster).await;
    ok(at, &["lease", "grant", "600"]);
    let after = whole_hash(&cluster).await;
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
    let answer = cluster.nodes[1].v3("maintenance/hash", &json!({})).await.expect("hash");
    assert_eq!(answer["hash"], after.1, "{answer}");
}

/// Revision and `Hash`, in which all members agree as soon as all have everything.
async fn whole_hash(cluster: &Cluster) -> (i64, u32) {
    eventually("members hash alike", SOON, async || {
        let mut found = Vec::new();
        for url in cluster.urls() {
            let channel = Endpoint::from_shared(url).expect("an URL").connect_lazy();
            let asked = MaintenanceClient::new(channel).hash(HashRequest {}).await;
            let answer = asked.map_err(|status| status.to_string())?.into_inner();
            found.push((answer.header.map_or(0, |header| header.revision), answer.hash));
        }
        ensure(found.iter().all(|one| *one == found[0]), || format!("{found:?}"))?;
        Ok(found[0])
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leader_and_no_downgrade() {
    let cluster = Cluster::layout_roles(&ROLES, None, &[]).run().await;
    let leader = cluster.raft_leader().await;
    let (leads, other) = (&cluster.nodes[leader], &cluster.nodes[(leader + 1) % 3]);
    for (node, target, text) in
        [(other, "1", "etcdserver: not leader"), (leads, "77", "etcdserver: bad leader transferee")]
    {
        let body = json!({"targetID": target});
        let error = node.v3("maintenance/transfer-leadership", &body).await.expect_err("refused");
        assert!(error.contains(text), "{error}");
    }
    let moved = ok(&cluster.endpoints(), &["move-leader", &format!("{:x}", other.id)]);
    assert!(moved.contains("Leadership transferred"), "{moved}");
    eventually("another leader", SOON, async || {
        ensure(cluster.raft_leader().await != leader, || "it leads still".to_owned())
    })
    .await;
    for (body, text) in [
        (
            json!({"action": "VALIDATE", "version": "3.6.0"}),
            "etcdserver: invalid downgrade target version",
        ),
        (
            json!({"action": "ENABLE", "version": "3.6"}),
            "etcdserver: invalid downgrade target version",
        ),
        (
            json!({"action": "VALIDATE", "version": "three"}),
            "etcdserver: wrong downgrade target version format",
        ),
        (json!({"action": "CANCEL"}), "etcdserver: no inflight downgrade job"),
    ] {
        let error = leads.v3("maintenance/downgrade", &body).await.expect_err("refused");
        assert!(error.contains(text), "{body}: {error}");
    }
    let status = leads.v3("maintenance/status", &json!({})).await.expect("status");
    assert_eq!(status["storageVersion"], status["version"], "{status}");
    assert_eq!(status["downgradeInfo"], json!({}), "{status}");
    assert!(ok(&cluster.endpoints(), &["defrag"]).contains("Finished defragmenting"));
}
