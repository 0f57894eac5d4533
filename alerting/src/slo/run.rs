//! The loops: follow the registry, and refresh gauges and roll-ups while this node leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    engine::Engine,
    report::Window,
    time::{HOUR_MS, MINUTE_MS},
    world::Topic,
};

/// How often is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);
/// Gauges.
const SHOW_MS: i64 = 5_000;
/// Roll-ups.
const ROLL_UP_MS: i64 = MINUTE_MS;
/// Services that are counted at a stretch. More are spread over most of the time between two showings, so that whoever asks for
/// a report meanwhile finds a core free.
const AT_A_STRETCH: usize = 50;
const SPREAD_MS: i64 = SHOW_MS - 1_000;

/// Runs until `token` is cancelled. `leader` holds the create revision of the leader's key while this node leads.
pub(super) async fn run(
    engine: Arc<Engine>,
    token: CancellationToken,
    leader: watch::Receiver<Option<i64>>,
) {
    let follow = join_all(Topic::ALL.map(|topic| follow(&engine, topic)));
    tokio::select! {
        () = token.cancelled() => {}
        _ = follow => {}
        () = refresh(&engine, leader) => {}
    }
}

async fn follow(engine: &Engine, topic: Topic) {
    let mut changes = engine.client.follow(topic.prefix());
    while let Some(change) = changes.recv().await {
        engine.world().apply(topic, change, crate::clock::now().timestamp_millis());
    }
}

/// What was done when.
#[derive(Debug, Default)]
struct Done {
    /// The term of leadership that the rest is about.
    leader: Option<i64>,
    shown_at: Option<i64>,
    rolled_up_at: Option<i64>,
    deleted_at: Option<i64>,
    forgotten_at: Option<i64>,
    services: BTreeSet<String>,
    /// Since when each service's counts are not in the registry yet; without one, as far as samples reach.
    written: BTreeMap<String, i64>,
    /// The same of OpenSLO documents.
    counted: BTreeMap<String, i64>,
}

async fn refresh(engine: &Engine, leader: watch::Receiver<Option<i64>>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut done = Done::default();
    loop {
        tick.tick().await;
        let leads = *leader.borrow();
        if engine.world().is_ready() {
            round(engine, &mut done, leads, crate::clock::now().timestamp_millis()).await;
        }
    }
}

/// Whether something that was last done at `done` is due at `now`.
fn is_due(done: Option<i64>, every: i64, now: i64) -> bool {
    done.is_none_or(|at| now >= at + every)
}

async fn round(engine: &Engine, done: &mut Done, leader: Option<i64>, now: i64) {
    let windows = Window::ALL.map(Window::name);
    if done.leader != leader {
        engine.metrics.hide(&done.services, &windows);
        *done = Done { leader, ..Done::default() };
    }
    if !is_due(done.shown_at, SHOW_MS, now) {
        return;
    }
    let services = engine.world().services();
    engine.forget(&services);
    let roll_up = is_due(done.rolled_up_at, ROLL_UP_MS, now);
    let (begun, round_at) = (Instant::now(), now);
    for (n, service) in services.iter().enumerate() {
        let after = offset_ms(n, services.len());
        sleep_until(begun + Duration::from_millis(after.unsigned_abs())).await;
        let now = round_at + after;
        // A follower keeps its counts warm too: it may be asked, or lead at once.
        let mut outcome = engine.report(service, &Window::ALL, now).await.map(|report| {
            if leader.is_some() {
                engine.metrics.show(&report);
            }
            engine.keep(report);
        });
        if let (true, Some(leader), true) = (roll_up, leader, outcome.is_ok()) {
            let since = done.written.get(service).copied();
            outcome = engine.roll_up(service, now, leader, since).await.map(|next| {
                if let Some(next) = next {
                    done.written.insert(service.clone(), next);
                }
            });
        }
        if let Err(error) = outcome {
            warn!(%service, %error, "SLO not refreshed");
        }
    }
    let gone = done.services.difference(&services).cloned().collect();
    engine.metrics.hide(&gone, &windows);
    done.written.retain(|service, _| services.contains(service));
    (done.services, done.shown_at) = (services, Some(now));
    if roll_up {
        if let Some(leader) = leader {
            engine.count_documents(now, leader, &mut done.counted).await;
        }
        done.rolled_up_at = Some(now);
    }
    if let (Some(leader), true) = (leader, is_due(done.deleted_at, HOUR_MS, now)) {
        if let Err(error) = engine.delete_old(now, leader).await {
            warn!(%error, "old day records not deleted; tried again in an hour");
        }
        done.deleted_at = Some(now);
    }
    if is_due(done.forgotten_at, HOUR_MS, now) {
        engine.world().forget(now);
        done.forgotten_at = Some(now);
    }
}

/// When the `n`th of so many services is counted, since the round's begin.
fn offset_ms(n: usize, of: usize) -> i64 {
    let stretch = i64::try_from(n / AT_A_STRETCH).unwrap_or_default();
    let stretches = i64::try_from(of.div_ceil(AT_A_STRETCH)).unwrap_or(i64::MAX);
    SPREAD_MS * stretch / stretches.max(1)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
