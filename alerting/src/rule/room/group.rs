//! One group's task: wait, evaluate on a thread, write what changed, tell. It ends with its state when it is stopped,
//! and without it when another node leads.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use watchkeep_catalog::Time;

use super::{Shared, alone::Teller, incident::Firing, lock};
use crate::{
    clock,
    rule::{
        AlertState, aligned,
        evaluate::{self, GroupState, Sink},
        fingerprint, group_id, missed,
        model::{Group, Labels, Measure, Sample},
        registry::{self, StateError},
        stale_marker,
        state::{self, Change, Written},
    },
    store::StoreError,
    template::link,
};

/// A group between two evaluations.
pub(super) struct Carried {
    pub(super) group: Group,
    pub(super) state: GroupState,
    pub(super) written: Written,
    /// Series of rules that a reload has removed.
    pub(super) orphans: Vec<Labels>,
    /// Fingerprints of the alerts whose incidents are open.
    pub(super) reported: BTreeSet<String>,
}

impl Carried {
    pub(super) fn new(group: Group, state: GroupState, written: Written) -> Self {
        Self { group, state, written, orphans: Vec::new(), reported: BTreeSet::new() }
    }
}

/// The alerts of a group that fire, by their fingerprints.
pub(super) fn firing<'a>(
    group: &'a Group,
    state: &'a GroupState,
) -> impl Iterator<Item = (String, Firing<'a>)> {
    let rules = state.rules.iter().zip(&group.rules);
    let active = rules.flat_map(|(state, rule)| {
        state.active.iter().map(|(labels, active)| (labels, active, rule.expr.as_str()))
    });
    let firing = active.filter(|(_, active, _)| active.state == AlertState::Firing);
    firing.map(|(labels, active, expr)| (fingerprint(labels), Firing { labels, active, expr }))
}

/// On whose account a group is evaluated.
#[derive(Clone)]
pub(super) enum Office {
    /// This node leads; the number fences its writes.
    Leader(i64),
    /// The registry is lost, and who tells without it.
    Alone(Teller),
}

/// Evaluates until `stop`; none when this node is fenced off.
pub(super) async fn run(
    shared: Arc<Shared>,
    office: Office,
    mut carried: Carried,
    stop: CancellationToken,
) -> Option<Carried> {
    let id = group_id(&carried.group);
    let name = format!("{};{}", carried.group.file, carried.group.name);
    let interval = carried.group.interval;
    shared.metrics.begin(&name, interval.as_secs_f64());
    lock(&shared.states).insert(id.clone(), carried.state.clone());
    let step = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
    // The next time, not the last: samples of the node itself may be still to come.
    let mut at_ms = aligned(&id, interval, clock::now().timestamp_millis()).saturating_add(step);
    loop {
        let wait = at_ms - clock::now().timestamp_millis();
        tokio::select! {
            () = stop.cancelled() => return Some(carried),
            () = tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))) => {}
        }
        let permit = Arc::clone(&shared.at_once).acquire_owned().await.ok()?;
        let began = Instant::now();
        carried = round(&shared, carried, at_ms, &name).await?;
        drop(permit);
        shared
            .metrics
            .group_duration_seconds
            .with_label_values(&[&name])
            .set(began.elapsed().as_secs_f64());
        let urls = urls(&shared, &carried.group);
        match &office {
            // What is shown is written: whoever leads next goes on from there.
            Office::Leader(fence) => {
                let settled = settle(&shared, *fence, (&id, &urls), &mut carried, at_ms).await;
                if let Err(StateError::Fenced) = settled {
                    return None;
                }
            }
            Office::Alone(teller) => {
                super::alone::tell(&shared, teller, &mut carried, &urls, at_ms);
            }
        }
        lock(&shared.states).insert(id.clone(), carried.state.clone());
        count(&shared);
        let late = missed(at_ms, interval, clock::now().timestamp_millis());
        shared.metrics.missed.with_label_values(&[&name]).inc_by(late);
        at_ms = at_ms.saturating_add(step.saturating_mul(1 + i64::try_from(late).unwrap_or(0)));
    }
}

/// One evaluation of every rule, on a thread that may wait for answers.
async fn round(
    shared: &Arc<Shared>,
    mut carried: Carried,
    at_ms: i64,
    name: &str,
) -> Option<Carried> {
    let (environment, sink) = shared.environment();
    let (metrics, name) = (shared.metrics.clone(), name.to_owned());
    let evaluated = tokio::task::spawn_blocking(move || {
        let orphans = std::mem::take(&mut carried.orphans);
        if !orphans.is_empty() {
            let end = |labels| Sample {
                labels,
                timestamp_ms: at_ms,
                value: Measure::Float(stale_marker()),
            };
            if let Err(message) = sink.write(orphans.into_iter().map(end).collect()) {
                warn!(message, "series of removed rules are not ended; they end by themselves");
            }
        }
        for at in 0..carried.group.rules.len() {
            let began = Instant::now();
            let Carried { group, state, .. } = &mut carried;
            evaluate::evaluate(group, at, state, at_ms, &environment, &sink);
            let rule = &mut state.rules[at];
            rule.duration = began.elapsed();
            metrics.evaluation_seconds.observe(rule.duration.as_secs_f64());
            metrics.evaluations.with_label_values(&[&name]).inc();
            if let Some(message) = &rule.last_error {
                metrics.failures.with_label_values(&[&name]).inc();
                let rule = group.rules[at].name();
                warn!(group = name, rule, message, "a rule's evaluation did not go well");
            }
        }
        carried
    });
    evaluated.await.ok()
}

/// Where each rule's expression is shown.
fn urls(shared: &Shared, group: &Group) -> Vec<String> {
    let external = shared.settings.external_url.trim_end_matches('/');
    group.rules.iter().map(|rule| format!("{external}{}", link(&rule.expr, 1))).collect()
}

/// Writes what changed, then tells: first that it is decided, then whoever is to know.
async fn settle(
    shared: &Arc<Shared>,
    fence: i64,
    (id, urls): (&str, &[String]),
    carried: &mut Carried,
    now_ms: i64,
) -> Result<(), StateError> {
    let mut changes =
        state::changes(&carried.group, &carried.state, &carried.written, urls, now_ms);
    let now = state::time(now_ms);
    // What ended stays written until its incident is resolved, so that no crash in between forgets it.
    let mut told = Vec::with_capacity(changes.len());
    for change in changes.drain(..) {
        let over = change.kept.is_none();
        if over && resolve(shared, fence, &change, now).await.is_err() {
            continue;
        }
        if over {
            carried.reported.remove(&change.fingerprint);
        }
        told.push(change);
    }
    let kept = carried.written.len();
    let (done, outcome) = registry::write(&shared.context.client, fence, id, &told, kept).await;
    state::enter(&mut carried.written, &told[..done], now_ms);
    if let Err(StateError::Client(error)) = &outcome {
        warn!(%error, group = id, "changes of alerts not known to be written; with the next evaluation again");
    }
    if outcome.is_ok() {
        report(shared, fence, carried, now).await;
    }
    outcome
}

/// Opens incidents of firing alerts that are not known to have one.
async fn report(shared: &Arc<Shared>, fence: i64, carried: &mut Carried, now: Time) {
    if !shared.settings.opens_incidents {
        return;
    }
    let new = firing(&carried.group, &carried.state);
    let new: Vec<_> = new.filter(|(at, _)| !carried.reported.contains(at)).collect();
    if new.is_empty() {
        return;
    }
    // Read once for all of them: there may be thousands.
    let rules = match super::incident::duty(shared).await {
        Ok(rules) => rules,
        Err(error) => return debug!(%error, "schedules not read, trying again"),
    };
    for (fingerprint, alert) in new {
        match super::incident::trigger(shared, fence, &rules, &fingerprint, alert, now).await {
            Ok(()) => drop(carried.reported.insert(fingerprint)),
            Err(error) => debug!(%error, "incident of an alert not opened, trying again"),
        }
    }
}

/// Resolves the incident of an alert that ended.
pub(super) async fn resolve(
    shared: &Arc<Shared>,
    fence: i64,
    change: &Change,
    now: Time,
) -> Result<(), StoreError> {
    match &change.alert {
        Some(alert) => {
            let (fingerprint, since) = (&change.fingerprint, alert.starts_at);
            super::incident::resolve(shared, fence, fingerprint, since, now).await
        }
        None => Ok(()),
    }
}

/// The active alerts of all groups.
fn count(shared: &Shared) {
    let (mut pending, mut firing) = (0, 0);
    for state in lock(&shared.states).values() {
        for active in state.rules.iter().flat_map(|rule| rule.active.values()) {
            match active.state {
                AlertState::Pending => pending += 1,
                AlertState::Firing => firing += 1,
            }
        }
    }
    shared.metrics.alerts.with_label_values(&["pending"]).set(pending);
    shared.metrics.alerts.with_label_values(&["firing"]).set(firing);
}
