//! Without the registry: every node that has lost it evaluates the rules over the samples it has itself, from what it knew last,
//! and tells by itself. Nothing is written down, so when the registry is back a leader begins with what stands there.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    group::{self, Carried, Office},
    lock,
};
use crate::{
    alertmanager::Alertmanager,
    clock,
    rule::{evaluate::GroupState, group_id, model::RuleKind, state},
};

/// What a leader knew counts for so long after its office has ended.
const REMEMBERED: Duration = Duration::from_secs(30);
/// An alert that nobody says again is over after so many intervals, and not before a minute.
const INTERVALS: u32 = 4;
const LASTING_MIN: Duration = Duration::from_mins(1);

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
pub(super) async fn serve(shared: &Arc<Shared>, alertmanager: &Alertmanager, last: &mut Last) {
    let mut last = last.take();
    let mut loaded = shared.loaded.subscribe();
    loop {
        let groups = Arc::clone(&loaded.borrow_and_update()).groups.clone();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let rules = groups.iter().flat_map(|group| &group.rules);
        for rule in rules.filter(|rule| matches!(rule.kind, RuleKind::Alert(_))) {
            *names.entry(rule.name().to_owned()).or_default() += 1;
        }
        let told = alertmanager.told_by_rules();
        let now_ms = clock::now().timestamp_millis();
        let mut tasks = JoinSet::new();
        for group in groups {
            let known = last.remove(&group_id(&group));
            let known = known.filter(|state| state.rules.len() == group.rules.len());
            let state = known.unwrap_or_else(|| state::adopt(&group, &told, &names));
            let written = state::known(&group, &state, now_ms);
            let carried = Carried::new(group, state, written);
            let office = Office::Alone(alertmanager.clone());
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
    alertmanager: &Alertmanager,
    carried: &mut Carried,
    urls: &[String],
    now_ms: i64,
) {
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
