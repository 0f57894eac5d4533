//! Collectors that share checks, as real processes: one is killed, and one after the other loses its network.
//!
//! Namespaces need root and `ip` (apt package iproute2); without them that test is skipped with a message, and with
//! `CI=true` it fails.

#![allow(clippy::print_stdout, reason = "says when it is skipped")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the linearizability test uses more of it")]
#[path = "../e2e_linearizability/network.rs"]
mod network;
mod world;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use common::{Cluster, eventually, http, receiver::Receiver, wait::ensure};
use network::Network;
use serde_json::json;
use watchkeep_catalog::{Client, Status, keys};
use world::World;

/// For what takes seconds.
const SOON: Duration = Duration::from_secs(30);

/// A metric of a collector; none when it is not there.
async fn metric(url: &str, name: &str) -> Result<f64, String> {
    let text = http::text(http::client().get(url)).await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name}"))
}

/// Who has opinions on service `web`: collectors by instance.
async fn owners(client: &Client) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut owners = BTreeMap::<String, Vec<String>>::new();
    for key in client.list_keys(&keys::opinions_of("web")).await.map_err(|e| e.to_string())? {
        let segments = keys::segments(&key, keys::OPINIONS).ok_or("not an opinion")?;
        owners.entry(segments[1].to_owned()).or_default().push(segments[3].to_owned());
    }
    Ok(owners)
}

/// Instances, each probed every half second by one of three collectors.
const INSTANCES: usize = 24;
const INTERVAL: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_of_a_collector_that_is_killed_go_on_elsewhere() {
    let target = Receiver::start().await;
    let roles = ["registry", "collector", "collector", "collector"];
    let collector = json!({"vantage_points": 1, "lease_ttl_seconds": LEASE.as_secs()});
    let mut cluster = Cluster::layout_roles(&roles, None, &[("collector", collector)]).run().await;
    let client = Client::new(&[format!("http://{}", cluster.nodes[0].client)]).expect("a client");
    let port: u16 = target.url("").rsplit(':').next().expect("a port").parse().expect("a port");
    for n in 0..INSTANCES {
        let instance = json!({
            "service": "web", "id": format!("web-{n}"), "address": "127.0.0.1", "port": port,
            "checks": [{"name": "http", "interval_ms": INTERVAL.as_millis(), "http": {"path": format!("/{n}")}}],
        });
        let key = keys::instance("web", &format!("web-{n}"));
        client.put_json(&key, &instance, 0).await.expect("put");
    }
    let shared = async |collectors: usize| {
        eventually("each check has one opinion", SOON, async || {
            let owners = owners(&client).await?;
            let one_each = owners.len() == INSTANCES && owners.values().all(|of| of.len() == 1);
            let mut all: Vec<_> = owners.values().flatten().collect();
            all.sort();
            all.dedup();
            ensure(one_each && all.len() == collectors, || format!("{owners:?}"))?;
            Ok(owners)
        })
        .await
    };
    let before = shared(3).await;
    let killed = Instant::now();
    cluster.nodes[3].kill();
    let after = shared(2).await;
    for (instance, owner) in &before {
        if owner[0] != "node-4" {
            assert_eq!(after[instance], *owner, "{instance} had no reason to move");
        }
    }
    // Some more rounds, to see that nobody else probes them.
    let counted = Instant::now();
    let probes = target.at("/0").len();
    target.wait("/0", probes + 6, SOON).await;
    for n in 0..INSTANCES {
        let times: Vec<Instant> = target.at(&format!("/{n}")).iter().map(|r| r.at).collect();
        let since = |from: Instant| times.iter().filter(move |at| **at >= from);
        // None never: the lease, a second for the first probe, and what a busy machine adds.
        let gap = times.windows(2).filter(|w| w[1] >= killed).map(|w| w[1] - w[0]).max();
        let most = LEASE + Duration::from_secs(1) + INTERVAL + Duration::from_secs(2);
        assert!(gap.is_some_and(|gap| gap <= most), "web-{n} was not probed for {gap:?}");
        // None twice: no more probes than the interval has room for.
        let elapsed = counted.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
        let found = since(counted).count() as f64;
        assert!(found <= elapsed + 2.0, "web-{n}: {found} probes in {elapsed} intervals");
    }
    for node in &cluster.nodes[1..3] {
        let members = metric(&node.url("/metrics"), "watchkeep_collector_members").await;
        assert_eq!(members, Ok(2.0), "{}", node.name);
    }
}

/// One world after the other: they are named by the process.
#[tokio::test(flavor = "multi_thread")]
async fn networks_fail_and_no_verdict_changes_for_it() {
    for scenario in [0, 1] {
        let network = match Network::create(world::NAMESPACES) {
            Ok(network) => network,
            Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{why}"),
            Err(why) => return println!("skipped, no network namespaces: {why}"),
        };
        match scenario {
            0 => collectors_lose_their_networks(World::of_collectors(network)).await,
            _ => the_leader_is_split_away(World::of_thirds(network)).await,
        }
    }
}

async fn collectors_lose_their_networks(mut world: World) {
    world.register("web", "web-1").await;
    world.opinions("web-1", &[Status::Passing; 3]).await;
    let verdict = world.verdict("web-1", Status::Passing).await;

    // One vantage point cannot reach the service any more: the others hold the verdict, and the disagreement shows.
    world.network.cut(world::COLLECTORS[0], world::TARGET).expect("cut");
    world.opinions("web-1", &[Status::Passing, Status::Passing, Status::Critical]).await;
    world.has_decided("marker-1").await;
    assert_eq!(world.verdict("web-1", Status::Passing).await, verdict);

    // Now it reaches nobody: its opinions go with its lease.
    world.network.heal();
    world.opinions("web-1", &[Status::Passing; 3]).await;
    world.network.isolate(world::COLLECTORS[0]).expect("cut off");
    world.opinions("web-1", &[Status::Passing; 2]).await;
    world.has_decided("marker-2").await;
    assert_eq!(world.verdict("web-1", Status::Passing).await, verdict);

    // Two are cut off: the third alone holds the verdict, and alone finds a fault.
    world.network.isolate(world::COLLECTORS[1]).expect("cut off");
    world.opinions("web-1", &[Status::Passing]).await;
    world.has_decided("marker-3").await;
    assert_eq!(world.verdict("web-1", Status::Passing).await, verdict);

    // The registry does not answer: probing goes on, and no verdict changes when it is back.
    world.stop_registry();
    let probed = world.probes(world::COLLECTORS[2]).await;
    eventually("probes without a registry", SOON, async || {
        let now = world.probes(world::COLLECTORS[2]).await;
        ensure(now > probed + 20.0, || format!("{now} after {probed}"))
    })
    .await;
    world.start_registry();
    world.network.heal();
    world.opinions("web-1", &[Status::Passing; 3]).await;
    world.has_decided("marker-4").await;
    assert_eq!(world.verdict("web-1", Status::Passing).await, verdict);

    // And a real fault is still found.
    world.stop_target();
    world.verdict("web-1", Status::Critical).await;
}

/// The leader of the registry, the collector and the alerting beside it are cut off from the other two nodes, but not from the
/// service: what they see and say counts no more, and the other two hold the verdict and find the fault, once.
async fn the_leader_is_split_away(mut world: World) {
    world.register("web", "web-1").await;
    world.opinions("web-1", &[Status::Passing; 3]).await;
    let passing = world.verdict("web-1", Status::Passing).await;
    let away = world.leader().await;
    let others: Vec<_> = world::THIRDS.into_iter().filter(|at| *at != away).collect();
    world.split(away);
    world.ask(&others);
    world.opinions("web-1", &[Status::Passing; 2]).await;
    world.has_decided("marker-1").await;
    assert_eq!(world.verdict("web-1", Status::Passing).await, passing);

    // The one that is away goes on probing, though nobody hears it.
    let probed = world.probes(away).await;
    eventually("probes without a quorum", SOON, async || {
        let now = world.probes(away).await;
        ensure(now > probed + 10.0, || format!("{now} after {probed}"))
    })
    .await;

    world.stop_target();
    let critical = world.verdict("web-1", Status::Critical).await;
    let key = keys::verdict("web", "web-1");
    let written = world.client.get(&key).await.expect("read").expect("a verdict").mod_revision;
    world.network.heal();
    world.opinions("web-1", &[Status::Critical; 3]).await;
    // Back among them, it has nothing to add, not even by asking itself.
    world.ask(&[away]);
    assert_eq!(world.verdict("web-1", Status::Critical).await, critical);
    let still = world.client.get(&key).await.expect("read").expect("a verdict").mod_revision;
    assert_eq!(still, written, "decided once");
    let incidents = world.client.list(keys::INCIDENTS).await.expect("read").0;
    let of_web = incidents.iter().filter_map(|kv| kv.json::<serde_json::Value>().ok());
    assert_eq!(
        of_web.filter(|incident| incident["labels"]["service"] == "web").count(),
        1,
        "{incidents:?}"
    );
}
