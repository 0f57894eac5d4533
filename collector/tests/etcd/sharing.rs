//! Sharing: several collectors over a real etcd, one of which joins, leaves, and loses its lease.

use std::collections::{BTreeMap, BTreeSet};

use watchkeep_catalog::{Client, client::Change, keys};
use watchkeep_collector::CollectorConfig;

use crate::{
    peer::Etcd,
    rig::{Rig, Service, wait_for},
};

/// Checks, each of an instance of its own.
const CHECKS: usize = 60;

fn two_vantage_points() -> CollectorConfig {
    CollectorConfig { vantage_points: 2, lease_ttl_seconds: 2, ..CollectorConfig::default() }
}

async fn register(client: &Client, port: u16) {
    for n in 0..CHECKS {
        let record = format!(
            r#"{{"id":"web-{n}","address":"127.0.0.1","port":{port},"checks":[{{"name":"tcp","interval_ms":200,"tcp":{{}}}}]}}"#
        );
        let key = keys::instance("web", &format!("web-{n}"));
        client.put(&key, record, 0).await.expect("put");
    }
}

/// Who has an opinion, by instance.
async fn opinions(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for key in client.list_keys(keys::OPINIONS).await.expect("keys") {
        let segments = keys::segments(&key, keys::OPINIONS).expect("an opinion");
        found.entry(segments[1].to_owned()).or_default().insert(segments[3].to_owned());
    }
    found
}

/// Waits until every check has exactly the opinions of two collectors, one of them at zone `a`, and everybody has some.
async fn settled(
    client: &Client,
    zone_a: &[&str],
    everybody: &[&str],
) -> BTreeMap<String, BTreeSet<String>> {
    wait_for("two opinions on each check, from both zones", || async {
        let found = opinions(client).await;
        let is_shared = |owners: &BTreeSet<String>| {
            owners.len() == 2
                && owners.iter().all(|owner| everybody.contains(&owner.as_str()))
                && owners.iter().filter(|owner| zone_a.contains(&owner.as_str())).count() == 1
        };
        let heard: BTreeSet<&str> = found.values().flatten().map(String::as_str).collect();
        let all = found.len() == CHECKS && heard.len() == everybody.len();
        (all && found.values().all(is_shared)).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_move_to_whoever_joins_and_from_whoever_leaves() {
    let (etcd, service) = (Etcd::start(), Service::start().await);
    let client = etcd.client();
    let rig = |name, zone| Rig::start_as(name, zone, two_vantage_points(), client.clone(), None);
    let (one, two) = (rig("node-1", "a"), rig("node-2", "b"));
    register(&client, service.port).await;
    settled(&client, &["node-1"], &["node-1", "node-2"]).await;

    // From now on every change of every opinion is seen.
    let mut changes = client.follow(keys::OPINIONS);
    let three = rig("node-3", "a");
    let shared = settled(&client, &["node-1", "node-3"], &["node-1", "node-2", "node-3"]).await;
    let share = |name: &str| shared.values().filter(|owners| owners.contains(name)).count();
    assert_eq!(share("node-2"), CHECKS, "alone in its zone");
    assert_eq!(share("node-1") + share("node-3"), CHECKS);
    assert!((CHECKS / 4..=CHECKS * 3 / 4).contains(&share("node-3")), "{shared:?}");
    // In the order in which it happened: no check was ever without two opinions.
    let mut held = BTreeMap::<String, BTreeSet<String>>::new();
    let mut begun = false;
    while held != shared || !begun {
        let change = changes.recv().await.expect("a change");
        begun = true;
        replay(&mut held, change);
        assert!(held.values().all(|owners| owners.len() >= 2), "{held:?}");
    }
    for (rig, name) in [(&one, "node-1"), (&three, "node-3")] {
        let probed = || async {
            rig.metric("watchkeep_collector_targets").filter(|n| *n == share(name) as f64)
        };
        wait_for("to probe no more than its share", probed).await;
        assert_eq!(rig.metric("watchkeep_collector_targets_known"), Some(CHECKS as f64));
        assert_eq!(rig.metric("watchkeep_collector_targets_leaving"), Some(0.0));
        assert_eq!(rig.metric("watchkeep_collector_members"), Some(3.0));
    }

    // Killed without a word: its lease runs out.
    three.running.abort();
    let _ = three.running.await;
    settled(&client, &["node-1"], &["node-1", "node-2"]).await;
    for rig in [&one, &two] {
        let all =
            || async { rig.metric("watchkeep_collector_targets").filter(|n| *n == CHECKS as f64) };
        wait_for("everything again", all).await;
    }
}

/// Applies a change to who holds which opinion.
fn replay(held: &mut BTreeMap<String, BTreeSet<String>>, change: Change) {
    let owner = |key: &str| {
        let segments = keys::segments(key, keys::OPINIONS).expect("an opinion");
        (segments[1].to_owned(), segments[3].to_owned())
    };
    match change {
        Change::Reset(kvs, _) => {
            for kv in kvs {
                let (instance, owner) = owner(&kv.key);
                held.entry(instance).or_default().insert(owner);
            }
        }
        Change::Put(kv) => {
            let (instance, owner) = owner(&kv.key);
            held.entry(instance).or_default().insert(owner);
        }
        Change::Delete { key, .. } => {
            let (instance, owner) = owner(&key);
            held.entry(instance).or_default().remove(&owner);
        }
    }
}
