//! Without the registry: every node that has lost it evaluates the rules over the samples it has itself, from what it knew last,
//! and tells by itself. Nothing is written down, so when the registry is back a leader begins with what stands there.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::Alert;

use super::{
    Shared,
    group::{self, Carried, Office},
    incident::{Firing, finding},
    lock,
};
use crate::{
    alertmanager::Alertmanager,
    alone::{Known, REGISTRY_LOST},
    clock,
    rule::{evaluate::GroupState, group_id, model::RuleKind, state},
};

/// What a leader knew counts for so long after its office has ended.
const REMEMBERED: Duration = Duration::from_secs(30);
/// An alert that nobody says again is over after so many intervals, and not before a minute.
const INTERVALS: u32 = 4;
const LASTING_MIN: Duration = Duration::from_mins(1);

/// Who tells without the registry.
#[derive(Clone)]
pub(super) enum Teller {
    /// By its routes.
    Alertmanager(Alertmanager),
    /// Whoever is on call is called; with what was known before.
    People(Arc<Known>),
}

impl Teller {
    /// The alerts of rules that fire, as they are known.
    fn told_by_rules(&self) -> Vec<Arc<Alert>> {
        match self {
            Self::Alertmanager(alertmanager) => alertmanager.told_by_rules(),
            Self::People(known) => known.alerts.clone(),
        }
    }
}

/// States of groups by their ids, and until when they were true.
#[derive(Default)]
pub(super) struct Last(Option<(Instant, BTreeMap<String, GroupState>)>);

impl Last {
    pub(super) fn new(states: BTreeMap<String, GroupState>) -> Self {
        Self(Some((Instant::now(), states)))
    }

    fn take(&mut self) -> BTreeMap<String, GroupState> {
        let fresh = self.0.take().filter(|(at, _)| at.elapsed() <= REMEMBERED);
        fresh.map(|(_, states)| states).unwrap_or_default()
    }
}

/// Evaluates until it is dropped.
pub(super) async fn serve(shared: &Arc<Shared>, teller: &Teller, last: &mut Last) {
    let mut last = last.take();
    let mut loaded = shared.loaded.subscribe();
    loop {
        let groups = Arc::clone(&loaded.borrow_and_update()).groups.clone();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let rules = groups.iter().flat_map(|group| &group.rules);
        for rule in rules.filter(|rule| matches!(rule.kind, RuleKind::Alert(_))) {
            *names.entry(rule.name().to_owned()).or_default() += 1;
        }
        // Of groups that are not there any more nothing fires.
        shared.context.alone.groups(&groups.iter().map(group_id).collect());
        let told = teller.told_by_rules();
        let now_ms = clock::now().timestamp_millis();
        let mut tasks = JoinSet::new();
        for group in groups {
            let known = last.remove(&group_id(&group));
            let known = known.filter(|state| state.rules.len() == group.rules.len());
            let state = known.unwrap_or_else(|| state::adopt(&group, &told, &names));
            let written = state::known(&group, &state, now_ms);
            let carried = Carried::new(group, state, written);
            let office = Office::Alone(teller.clone());
            tasks.spawn(group::run(Arc::clone(shared), office, carried, CancellationToken::new()));
        }
        // The rules are others now: what is known of those that are the same goes on.
        if loaded.changed().await.is_err() {
            return;
        }
        drop(tasks);
        last = std::mem::take(&mut *lock(&shared.states));
    }
}

/// Tells what one evaluation came to.
pub(super) fn tell(
    shared: &Shared,
    teller: &Teller,
    carried: &mut Carried,
    urls: &[String],
    now_ms: i64,
) {
    match teller {
        Teller::Alertmanager(alertmanager) => tell_routes(alertmanager, carried, urls, now_ms),
        Teller::People(known) => {
            // Of the loss itself they are told without a rule.
            let is_new = |(fingerprint, alert): &(String, Firing<'_>)| {
                let name = alert.labels.get("alertname").map(String::as_str);
                name != Some(REGISTRY_LOST) && !known.told.contains(fingerprint)
            };
            let new = group::firing(&carried.group, &carried.state).filter(is_new);
            let findings = new.map(|(fingerprint, alert)| finding(&fingerprint, &alert)).collect();
            shared.context.alone.fires(&group_id(&carried.group), findings);
        }
    }
}

fn tell_routes(alertmanager: &Alertmanager, carried: &mut Carried, urls: &[String], now_ms: i64) {
    let Carried { group, state, written, .. } = carried;
    let lasting = (group.interval * INTERVALS).max(LASTING_MIN);
    let until_ms = now_ms.saturating_add(i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX));
    let changes = state::changes(group, state, written, urls, now_ms);
    let over = changes.iter().filter(|change| change.kept.is_none());
    let mut alerts: Vec<_> = over.filter_map(|change| change.alert.clone()).collect();
    alerts.extend(state::firing(group, state, urls, (now_ms, until_ms)));
    state::enter(written, &changes, now_ms);
    alertmanager.tell_alone(alerts);
}
