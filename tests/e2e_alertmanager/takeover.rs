//! Nothing lost, nothing twice, nothing late: alerts go to three nodes while the alerting leader is killed again and again.
//! Each is told of once by effect (under one key, however often that was sent), and in time after it was taken and
//! somebody leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use super::text;
use crate::common::{Cluster, cluster::encode, eventually, http, receiver::Receiver, wait::ensure};

/// `WATCHKEEP_SECONDS=300 cargo test --test e2e_alertmanager nothing` is the long form.
const SECONDS: u64 = 14;
const ALERTS_PER_SECOND: u64 = 20;
const KILL_EVERY: Duration = Duration::from_secs(5);
/// The office of a leader is looked for so often, and an answer may take so long.
const POLL: Duration = Duration::from_millis(20);
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// An alert that was taken is told of within this, while somebody leads: what is promised is held to in the long form, and by
/// `cargo xtask bench alerting --faults`.
const GRACE_MS: u64 = 1_000;
/// The short form runs in a debug build with other tests beside it; late here is what waits for another look of the group.
const GRACE_BESIDE_OTHERS_MS: u64 = 4_000;

fn grace() -> Duration {
    let is_short = std::env::var_os("WATCHKEEP_SECONDS").is_none();
    Duration::from_millis(if is_short { GRACE_BESIDE_OTHERS_MS } else { GRACE_MS })
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn nothing_lost_and_nothing_twice() {
    let receiver = Receiver::start().await;
    let configuration = format!(
        "route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1h, repeat_interval: 24h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: \"{}\"}}]}}]\n",
        receiver.url("/hook")
    );
    let cluster = Cluster::layout(3, &[("alerting", json!({"alertmanager_config": "am.yml"}))]);
    for node in &cluster.nodes {
        fs::write(node.dir.join("am.yml"), &configuration).expect("written");
    }
    let mut cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let count = setting("WATCHKEEP_SECONDS", SECONDS) * ALERTS_PER_SECOND;
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.http.clone()).collect();
    let begin = Instant::now();
    let posting = tokio::spawn(post(addresses, count, begin));
    let clients = cluster.nodes.iter().map(|node| node.client.clone()).collect();
    let (seen, mut elections) = mpsc::unbounded_channel();
    let watching = tokio::spawn(watch(clients, begin, seen));
    let (mut kills, mut down) = (Vec::new(), None);
    while !posting.is_finished() {
        tokio::time::sleep(KILL_EVERY).await;
        if let Some(at) = down.replace(cluster.alerting_leader().await) {
            let node: &mut crate::common::Node = &mut cluster.nodes[at];
            node.start();
            node.ready().await;
        }
        kills.push(begin.elapsed());
        cluster.nodes[down.expect("just put")].kill();
    }
    let accepted: BTreeMap<String, Duration> = posting.await.expect("all were taken");
    let told = eventually("every alert is told of", Duration::from_secs(30), async || {
        let told = keys(&receiver);
        ensure(told.len() as u64 == count, || format!("{} of {count}", told.len()))?;
        Ok(told)
    })
    .await;
    let twice: Vec<_> = told.iter().filter(|(_, keys)| keys.len() > 1).collect();
    assert!(twice.is_empty(), "told of under several keys: {twice:#?}");
    watching.abort();
    let first = first_told(&receiver, begin.into_std());
    let mut seen = Vec::new();
    while let Ok(at) = elections.try_recv() {
        seen.push(at);
    }
    let offices = offices(&seen, &kills);
    let late: Vec<_> = accepted
        .iter()
        .filter(|(name, at)| first[*name] > deadline(**at, grace(), &offices))
        .map(|(name, at)| (name, at, first[name]))
        .collect();
    assert!(late.is_empty(), "told of late: {late:#?}; somebody led {offices:?}");
    let mut delays: Vec<Duration> =
        accepted.iter().map(|(name, at)| first[name].saturating_sub(*at)).collect();
    delays.sort();
    let sent = receiver.at("/hook").len();
    println!(
        "{count} alerts, leader killed {} times: {sent} requests; from accepted to told: median {:?}, longest {:?}",
        kills.len(),
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    );
}

/// A leader that slept until another one led takes an alert as if it led still: what it would write with the alert is refused,
/// the alert is not, and it is told under one key.
#[tokio::test]
async fn a_leader_that_overslept_takes_alerts_and_tells_nobody() {
    let receiver = Receiver::start().await;
    let mut cluster = super::node(&receiver, 3).await;
    for turn in 0..2 {
        let sleeper = cluster.alerting_leader().await;
        let (id, at) = (cluster.nodes[sleeper].process().id(), cluster.nodes[sleeper].http.clone());
        let signal = |name: &str| {
            let sent = Command::new("kill").args([name, &id.to_string()]).status();
            assert!(sent.expect("kill").success(), "{name}");
        };
        signal("-STOP");
        // It lies at its door until it wakes.
        let name = format!("Late{turn}");
        let alert = json!([{"labels": {"alertname": name}, "endsAt": "2099-01-01T00:00:00Z"}]);
        let post = http::client().post(format!("http://{at}/api/v2/alerts")).json(&alert);
        let posted = tokio::spawn(http::text(post.timeout(Duration::from_secs(60))));
        let awake = &cluster.nodes[(sleeper + 1) % 3];
        eventually("another node leads", Duration::from_secs(30), async || {
            let leader = awake.get("/watchkeep/alerting/leader").await?.unwrap_or_default();
            let is_other = !leader.is_null() && leader["id"] != cluster.nodes[sleeper].name;
            ensure(is_other, || leader.to_string())
        })
        .await;
        signal("-CONT");
        posted.await.expect("no panic").expect("the alert is taken");
        eventually("it is told of", Duration::from_secs(30), async || {
            let told = keys(&receiver);
            ensure(told.contains_key(&name), || format!("{told:?}"))
        })
        .await;
    }
    let told = keys(&receiver);
    assert!(told.values().all(|keys| keys.len() == 1), "told of under several keys: {told:#?}");
}

/// From when to when somebody led.
type Office = (Duration, Duration);

/// Asks again and again who leads; sends when each election was seen first.
async fn watch(clients: Vec<String>, begin: Instant, seen: mpsc::UnboundedSender<Duration>) {
    let (mut known, mut turn) = (Value::Null, 0_usize);
    let question = json!({"key": encode("/watchkeep/alerting/leader")});
    loop {
        turn += 1;
        let url = format!("http://{}/v3/kv/range", clients[turn % clients.len()]);
        let asked = http::client().post(url).timeout(ANSWER_MAX).json(&question);
        let leader =
            http::json(asked).await.unwrap_or_default()["kvs"][0]["create_revision"].clone();
        if !leader.is_null() && leader != known {
            known = leader;
            // Nobody listens when the test is over.
            let _ = seen.send(begin.elapsed());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Each office lasts until the next kill.
fn offices(elections: &[Duration], kills: &[Duration]) -> Vec<Office> {
    let end = |from: Duration| kills.iter().find(|kill| **kill > from).copied();
    elections.iter().map(|from| (*from, end(*from).unwrap_or(Duration::MAX))).collect()
}

/// When an alert that was taken then has to be told of: so long after it was taken, or after the takeover behind that, by a
/// leader that lives so long.
fn deadline(taken: Duration, grace: Duration, offices: &[Office]) -> Duration {
    let of = |(from, to): &Office| {
        let at = taken.max(*from) + grace;
        (at <= *to).then_some(at)
    };
    offices.iter().find_map(of).unwrap_or(Duration::MAX)
}

#[test]
fn deadlines_are_those_of_the_leader_that_lives() {
    let at = Duration::from_millis;
    let offices = offices(&[at(0), at(8_000), at(13_500)], &[at(5_000), at(10_000)]);
    for (taken, deadline_ms) in [(100, 1_100), (4_500, 9_000), (6_000, 9_000), (9_500, 14_500)] {
        assert_eq!(deadline(at(taken), at(GRACE_MS), &offices), at(deadline_ms), "{taken}");
    }
}

/// Posts them one by one at their times, to one node after the other, until somebody takes each. Answers when each was taken.
async fn post(addresses: Vec<String>, count: u64, begin: Instant) -> BTreeMap<String, Duration> {
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..count {
        let addresses = addresses.clone();
        tasks.spawn(async move {
            tokio::time::sleep_until(begin + Duration::from_millis(at * 1_000 / ALERTS_PER_SECOND))
                .await;
            let name = format!("A{at}");
            let alert = json!([{"labels": {"alertname": name}, "endsAt": "2099-01-01T00:00:00Z"}]);
            let turn = AtomicUsize::new(usize::try_from(at).expect("small"));
            eventually("an alert is taken", Duration::from_secs(30), async || {
                let address = &addresses[turn.fetch_add(1, Ordering::Relaxed) % addresses.len()];
                let url = format!("http://{address}/api/v2/alerts");
                http::text(http::client().post(&url).json(&alert)).await
            })
            .await;
            (name, begin.elapsed())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

/// The keys under which each alert was told of; not what a node says of itself that was cut off for long.
fn keys(receiver: &Receiver) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in receiver.at("/hook") {
        let body: Value = request.json();
        let name = text(&body["commonLabels"]["alertname"]);
        if name == "WatchkeepRegistryLost" {
            continue;
        }
        keys.entry(name).or_default().insert(request.header("Idempotency-Key").to_owned());
    }
    keys
}

fn first_told(receiver: &Receiver, begin: std::time::Instant) -> BTreeMap<String, Duration> {
    let mut first = BTreeMap::new();
    for request in receiver.at("/hook") {
        let name = text(&request.json()["commonLabels"]["alertname"]);
        first.entry(name).or_insert(request.at - begin);
    }
    first
}
