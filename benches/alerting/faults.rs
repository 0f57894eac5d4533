//! Nothing lost, nothing twice, and how late: alerts come while whoever tells people is killed again and again.
//!
//! Three nodes of ours, of which the leader is killed; and two Alertmanagers that gossip, of which now the one and now the
//! other is killed. A killed one starts again just before the next is killed. Each alert is posted until somebody takes it,
//! and then again from time to time, as Prometheus does.
//!
//! - **Lost:** never told of, half a minute after the end.
//! - **Twice:** told of under two keys; an Alertmanager's webhooks have no key, so each is one.
//! - **Late:** told of more than [`LATE`] after it was taken.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{
    configuration,
    load::{Poster, alerts, numbers},
    side::Side,
    sink::Sink,
};

/// A takeover and a second: the lease of a leader is three seconds.
const LATE: Duration = Duration::from_secs(5);
/// What is not told of so long after the end is lost.
const REST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seconds: u64,
    pub(crate) alerts: u64,
    pub(crate) kill_every: u64,
    pub(crate) resend: u64,
}

pub(crate) async fn measure(plan: &Plan) {
    let Plan { seconds, alerts, kill_every, resend } = plan;
    println!(
        "{alerts} alerts in {seconds} s, a kill every {kill_every} s, each alert again every {resend} s"
    );
    println!(
        "{:<26} {:>6} {:>6} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9}",
        "", "kills", "lost", "twice", "late", "requests", "p50 s", "p99 s", "worst s"
    );
    let mut sink = Sink::start().await;
    let side = Side::ours(3, &configuration(&sink)).await;
    one("ours, three nodes", plan, side, &mut sink).await;
    let dir = TempDir::with_prefix("watchkeep-alerting-").expect("temporary folder");
    let mut sink = Sink::start().await;
    let side = Side::theirs(dir.path(), 2, &configuration(&sink)).await;
    one("Alertmanager, two nodes", plan, side, &mut sink).await;
}

async fn one(name: &str, plan: &Plan, mut side: Side, sink: &mut Sink) {
    let (poster, over) = (Poster::new(&side), Arc::new(AtomicBool::new(false)));
    let begun = tokio::time::Instant::now();
    let posting = tokio::spawn(post(poster, *plan, begun, Arc::clone(&over)));
    let (mut kills, mut down) = (0_usize, None);
    let pace = Duration::from_secs(plan.kill_every);
    for turn in 1.. {
        tokio::time::sleep_until(begun + pace * turn).await;
        if begun.elapsed() > Duration::from_secs(plan.seconds) {
            break;
        }
        let next = match &side {
            Side::Ours(cluster) => cluster.alerting_leader().await,
            Side::Theirs(_) => kills % 2,
        };
        if let Some(at) = down.replace(next) {
            side.start(at).await;
        }
        side.kill(next);
        kills += 1;
    }
    if let Some(at) = down {
        side.start(at).await;
    }
    tokio::time::sleep(REST).await;
    over.store(true, Ordering::Relaxed);
    let taken = posting.await.expect("all were taken");
    let told = sink.told();
    let mut delays = Vec::new();
    let (mut lost, mut twice, mut late, mut requests) = (0, 0, 0, 0);
    for (alert, at) in &taken {
        let Some(told) = told.get(alert) else {
            lost += 1;
            continue;
        };
        requests += told.requests;
        twice += u64::from(told.keys.len() > 1);
        let delay = told.first.expect("told of").saturating_duration_since(*at);
        late += u64::from(delay > LATE);
        delays.push(delay.as_secs_f64());
    }
    delays.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        let at = (delays.len().saturating_sub(1) as f64 * q).round() as usize;
        delays.get(at).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{name:<26} {kills:>6} {lost:>6} {twice:>6} {late:>6} {requests:>9} {:>9.3} {:>9.3} {:>9.3}",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
}

/// Posts them at their times; answers when each was taken.
async fn post(
    poster: Poster,
    load: Plan,
    begun: tokio::time::Instant,
    over: Arc<AtomicBool>,
) -> BTreeMap<u64, Instant> {
    let mut tasks = JoinSet::new();
    for (at, number) in (0..).zip(numbers(load.alerts)) {
        let (poster, over) = (poster.clone(), Arc::clone(&over));
        tasks.spawn(async move {
            let due = Duration::from_millis(at * load.seconds * 1_000 / load.alerts);
            tokio::time::sleep_until(begun + due).await;
            let (body, mut turn) = (alerts(number..number + 1, "told"), number);
            while !poster.post(&body, turn).await {
                turn += 1;
                tokio::time::sleep(PAUSE).await;
            }
            let taken = Instant::now();
            let mut sent = tokio::time::Instant::now();
            while !over.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if load.resend > 0 && sent.elapsed() >= Duration::from_secs(load.resend) {
                    sent = tokio::time::Instant::now();
                    // Whoever does not take it now is given it the next time.
                    let _ = poster.post(&body, turn).await;
                }
            }
            (number, taken)
        });
    }
    tasks.join_all().await.into_iter().collect()
}
