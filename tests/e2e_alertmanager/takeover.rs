//! Nothing lost, nothing twice: alerts go to three nodes while the alerting leader is killed again and again. Each is told
//! of once by effect: under one key, however often that was sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::text;
use crate::common::{Cluster, eventually, http, receiver::Receiver, wait::ensure};

/// `WATCHKEEP_SECONDS=300 cargo test --test e2e_alertmanager nothing` is the long form.
const SECONDS: u64 = 14;
const ALERTS_PER_SECOND: u64 = 20;
const KILL_EVERY: Duration = Duration::from_secs(5);

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
    let (mut kills, mut down) = (0, None);
    while !posting.is_finished() {
        tokio::time::sleep(KILL_EVERY).await;
        if let Some(at) = down.replace(cluster.alerting_leader().await) {
            let node: &mut crate::common::Node = &mut cluster.nodes[at];
            node.start();
            node.ready().await;
        }
        cluster.nodes[down.expect("just put")].kill();
        kills += 1;
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
    let first = first_told(&receiver, begin.into_std());
    let mut delays: Vec<Duration> =
        accepted.iter().map(|(name, at)| first[name].saturating_sub(*at)).collect();
    delays.sort();
    let sent = receiver.at("/hook").len();
    println!(
        "{count} alerts, leader killed {kills} times: {sent} requests; from accepted to told: median {:?}, longest {:?}",
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    );
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

/// The keys under which each alert was told of.
fn keys(receiver: &Receiver) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in receiver.at("/hook") {
        let body: Value = request.json();
        let name = text(&body["commonLabels"]["alertname"]);
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
