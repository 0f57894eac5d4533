//! Opinions: formed, written under the lease, withdrawn, and kept through the registry's troubles.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;
use watchkeep_catalog::{Collector as Record, Status, keys};

use crate::{
    peer::Etcd,
    rig::{Rig, Service, wait_for},
};

const TCP: &str = r#"{"name":"tcp","interval_ms":100,"tcp":{}}"#;
const HTTP: &str = r#"{"name":"http","interval_ms":100,"http":{"expected_body":"is w"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_probe_to_the_last() {
    let etcd = Etcd::start();
    let mut service = Service::start().await;
    let rig = Rig::start(etcd.client(), None);
    rig.put(service.port, &format!("{TCP},{HTTP}")).await;

    let (tcp, opinion) = rig.opinion("tcp", Status::Passing).await;
    assert_eq!(opinion.reason, "connected");
    assert!(opinion.first_seen <= opinion.since);
    let (http, opinion) = rig.opinion("http", Status::Passing).await;
    assert_eq!(opinion.reason, "status 200");
    let me = rig.get(&keys::collector("node-1")).await.expect("registered");
    let record: Record = me.json().expect("a record");
    assert_eq!((&*record.id, &*record.zone), ("node-1", "a"));
    assert!(me.lease != 0 && me.lease == tcp.lease && me.lease == http.lease);

    service.shut().await;
    let shut = Instant::now();
    let (_, opinion) = rig.opinion("tcp", Status::Critical).await;
    assert!(shut.elapsed() < Duration::from_secs(2), "{:?}", shut.elapsed());
    let reason = format!("connect to 127.0.0.1:{}: connection refused", service.port);
    assert_eq!(opinion.reason, reason);
    assert!(opinion.since - opinion.first_seen >= chrono::TimeDelta::milliseconds(90), "fall is 2");
    rig.opinion("http", Status::Critical).await;
    service.open().await;
    rig.opinion("tcp", Status::Passing).await;
    rig.opinion("http", Status::Passing).await;

    // One check goes, the other does not notice.
    let before = rig.get(&keys::opinion("web", "a", "http", "node-1")).await.expect("an opinion");
    rig.put(service.port, HTTP).await;
    gone(&rig, "tcp").await;
    let after = rig.get(&keys::opinion("web", "a", "http", "node-1")).await;
    assert_eq!(after, Some(before));
    assert_eq!(rig.metric("watchkeep_collector_targets"), Some(1.0));

    rig.client.delete(&keys::instance("web", "a")).await.expect("delete");
    gone(&rig, "http").await;
    assert!(!rig.metrics().contains("probe_success{"), "{}", rig.metrics());

    rig.stop.cancel();
    rig.running.await.expect("ends");
    let left = rig.client.get(&keys::collector("node-1")).await.expect("get");
    assert_eq!(left, None, "the lease is given back");
}

async fn gone(rig: &Rig, check: &str) {
    let key = keys::opinion("web", "a", check, "node-1");
    let ask = || async { rig.client.get(&key).await.ok()?.is_none().then_some(()) };
    wait_for(&format!("{key} to vanish"), ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_is_replaced_and_all_is_written_again() {
    let etcd = Etcd::start();
    let service = Service::start().await;
    let rig = Rig::start(etcd.client(), None);
    rig.put(service.port, &format!("{TCP},{HTTP}")).await;
    let (first, _) = rig.opinion("tcp", Status::Passing).await;
    rig.opinion("http", Status::Passing).await;
    rig.client.revoke(first.lease).await.expect("revoke");
    let opinion = |check| keys::opinion("web", "a", check, "node-1");
    for key in [opinion("tcp"), opinion("http"), keys::collector("node-1")] {
        let again =
            wait_for(&key, || async { rig.get(&key).await.filter(|kv| kv.lease != first.lease) });
        assert_ne!(again.await.lease, 0);
    }
    assert_eq!(rig.metric("watchkeep_collector_leases_total"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_opinions_go_together() {
    const INSTANCES: usize = 300;
    let etcd = Etcd::start();
    let service = Service::start().await;
    let rig = Rig::start(etcd.client(), None);
    let check = TCP.replace("100", "60000");
    for n in 0..INSTANCES {
        let (id, port) = (format!("i-{n}"), service.port);
        let record = format!(
            r#"{{"service":"web","id":"{id}","address":"127.0.0.1","port":{port},"checks":[{check}]}}"#
        );
        rig.client.put(&keys::instance("web", &id), record, 0).await.expect("put");
    }
    let prefix = keys::opinions_of("web");
    let under_another = async |lease: i64| {
        wait_for("all opinions", || async {
            let (all, _) = rig.client.list(&prefix).await.ok()?;
            (all.iter().filter(|kv| kv.lease != lease).count() == INSTANCES).then_some(all)
        })
        .await
    };
    let first = under_another(0).await;
    rig.client.revoke(first[0].lease).await.expect("revoke");
    let again = under_another(first[0].lease).await;
    let revisions: BTreeSet<_> = again.iter().map(|kv| kv.mod_revision).collect();
    assert!(revisions.len() <= 20, "{} revisions", revisions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_registry_was_away_is_written_after() {
    let mut etcd = Etcd::start();
    let mut service = Service::start().await;
    let rig = Rig::start(etcd.client(), None);
    rig.put(service.port, TCP).await;
    rig.opinion("tcp", Status::Passing).await;
    etcd.kill();
    service.shut().await;
    let changes = r#"watchkeep_collector_opinion_changes_total{status="critical"}"#;
    wait_for("a critical opinion", || async { rig.metric(changes).map(|_| ()) }).await;
    etcd.restart();
    rig.opinion("tcp", Status::Critical).await;
    // And it follows the catalog again.
    service.open().await;
    rig.put(service.port, &format!("{TCP},{HTTP}")).await;
    rig.opinion("http", Status::Passing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_harm_nobody_else() {
    let etcd = Etcd::start();
    let service = Service::start().await;
    let client = etcd.client();
    client.put(&keys::instance("web", "b"), "{", 0).await.expect("put");
    let rig = Rig::start(client, None);
    let broken = r#"{"name":"broken","interval_ms":60000,"http":{"expected_body":"("}}"#;
    rig.put(service.port, &format!("{TCP},{broken}")).await;
    rig.opinion("tcp", Status::Passing).await;
    let (_, opinion) = rig.opinion("broken", Status::Critical).await;
    assert!(opinion.reason.contains("regex parse error"), "{}", opinion.reason);
    assert_eq!(rig.metric("watchkeep_collector_invalid_instances"), Some(1.0));
    rig.put(service.port, &broken.replace('(', "is w")).await;
    rig.opinion("broken", Status::Passing).await;
}
