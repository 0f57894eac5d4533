//! What of a rule's state is in the registry, and what has to be written when it changes. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use watchkeep_catalog::{Alert, AlertSource, RuleAlert, Time};

use super::{
    alert::{Active, AlertState},
    evaluate::{GroupState, Health, RuleState},
    identity::{fingerprint, rule_id},
    model::{Group, Labels, Measure, RuleKind},
};

/// Firing alerts whose annotations change are written again after this time, not before.
pub(super) const REFRESH_MS: i64 = 60_000;

/// What has to be written about one alert, all in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// Rule's id and fingerprint: where the state is.
    pub(super) rule: String,
    pub(super) fingerprint: String,
    /// The state from now on; none: it has ended.
    pub(super) kept: Option<RuleAlert>,
    /// What others are told, if that changes.
    pub(super) alert: Option<Alert>,
}

/// What was written last about an alert.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub(super) kept: RuleAlert,
    /// Annotations that others know, and when they were told; none: it does not fire.
    pub(super) told: Option<(Labels, i64)>,
}

/// What is written, by rule's id and fingerprint.
pub(super) type Written = BTreeMap<(String, String), Known>;

/// A time of a state.
pub(super) fn time(millis: i64) -> Time {
    Time::from_timestamp_millis(millis).unwrap_or_default()
}

fn kept(group: &Group, labels: &Labels, active: &Active) -> RuleAlert {
    RuleAlert {
        group: group.name.clone(),
        labels: labels.clone(),
        active_at: time(active.active_at_ms),
        fired_at: active.fired_at_ms.map(time),
        keep_firing_since: active.keep_firing_since_ms.map(time),
    }
}

/// What others are told of a firing alert.
fn told(kept: &RuleAlert, annotations: &Labels, url: &str, now: Time, over: bool) -> Alert {
    Alert {
        labels: kept.labels.clone(),
        annotations: annotations.clone(),
        starts_at: kept.fired_at.unwrap_or(kept.active_at),
        ends_at: over.then_some(now),
        updated_at: now,
        timeout: false,
        generator_url: url.to_owned(),
        source: AlertSource::Rule,
    }
}

/// What has to be written so that the registry knows what `state` says. `urls` lead to the rules' expressions.
pub(super) fn changes(
    group: &Group,
    state: &GroupState,
    written: &Written,
    urls: &[String],
    now_ms: i64,
) -> Vec<Change> {
    let now = time(now_ms);
    let mut there: BTreeSet<(String, String)> = BTreeSet::new();
    let mut changes = Vec::new();
    for (at, rule) in state.rules.iter().enumerate() {
        let id = rule_id(group, at);
        let url = urls.get(at).map_or("", String::as_str);
        for (labels, active) in &rule.active {
            let key = (id.clone(), fingerprint(labels));
            let kept = kept(group, labels, active);
            let before = written.get(&key);
            let fires = active.state == AlertState::Firing;
            let tell = fires
                && match before.and_then(|known| known.told.as_ref()) {
                    None => true,
                    Some((said, at_ms)) => {
                        *said != active.annotations && now_ms - at_ms >= REFRESH_MS
                    }
                };
            if tell || before.is_none_or(|known| known.kept != kept) {
                let alert = tell.then(|| told(&kept, &active.annotations, url, now, false));
                let (rule, fingerprint) = key.clone();
                changes.push(Change { rule, fingerprint, kept: Some(kept), alert });
            }
            there.insert(key);
        }
    }
    for (key, known) in written.iter().filter(|(key, _)| !there.contains(*key)) {
        changes.push(ended(key, known, now));
    }
    changes
}

/// The alerts that fire, each until `until_ms`: for who has to say it again in time, since no registry keeps it.
pub(super) fn firing(
    group: &Group,
    state: &GroupState,
    urls: &[String],
    (now_ms, until_ms): (i64, i64),
) -> Vec<Alert> {
    let rules = state.rules.iter().enumerate();
    let active = rules.flat_map(|(at, rule)| rule.active.iter().map(move |active| (at, active)));
    let firing = active.filter(|(_, (_, active))| active.state == AlertState::Firing);
    let alert = |(at, (labels, active)): (usize, (&Labels, &Active))| {
        let url = urls.get(at).map_or("", String::as_str);
        let kept = kept(group, labels, active);
        let alert = told(&kept, &active.annotations, url, time(now_ms), false);
        Alert { ends_at: Some(time(until_ms)), timeout: true, ..alert }
    };
    firing.map(alert).collect()
}

/// What others were told of a state, by whoever had it.
pub(super) fn known(group: &Group, state: &GroupState, now_ms: i64) -> Written {
    let mut written = Written::new();
    for (at, rule) in state.rules.iter().enumerate() {
        for (labels, active) in &rule.active {
            let kept = kept(group, labels, active);
            let told = kept.fired_at.map(|_| (active.annotations.clone(), now_ms));
            written.insert((rule_id(group, at), fingerprint(labels)), Known { kept, told });
        }
    }
    written
}

/// The state of a group whose alerts fire as others were told; of what was pending nothing is known. An alert says by its
/// name which rule it is of, so only names that one rule has count.
pub(super) fn adopt(
    group: &Group,
    told: &[Arc<Alert>],
    names: &BTreeMap<String, usize>,
) -> GroupState {
    let mut state = GroupState::new(group);
    for (rule, state) in group.rules.iter().zip(&mut state.rules) {
        let is_alert = matches!(rule.kind, RuleKind::Alert(_));
        if !is_alert || names.get(rule.name()) != Some(&1) {
            continue;
        }
        let own = |alert: &&Arc<Alert>| {
            alert.labels.get("alertname").is_some_and(|name| name == rule.name())
        };
        for alert in told.iter().filter(own) {
            let began_ms = alert.starts_at.timestamp_millis();
            let active = Active {
                state: AlertState::Firing,
                active_at_ms: began_ms,
                fired_at_ms: Some(began_ms),
                keep_firing_since_ms: None,
                value: Measure::Float(f64::NAN),
                annotations: alert.annotations.clone(),
            };
            state.active.insert(alert.labels.clone(), active);
        }
        state.restored();
    }
    state
}

/// An alert is over, or nobody asks for it any more.
pub(super) fn ended(key: &(String, String), known: &Known, now: Time) -> Change {
    let none = Labels::new();
    let annotations = known.told.as_ref().map_or(&none, |(said, _)| said);
    let fired = known.kept.fired_at.is_some();
    Change {
        rule: key.0.clone(),
        fingerprint: key.1.clone(),
        kept: None,
        alert: fired.then(|| told(&known.kept, annotations, "", now, true)),
    }
}

/// Enters what was written.
pub(super) fn enter(written: &mut Written, changes: &[Change], now_ms: i64) {
    for change in changes {
        let key = (change.rule.clone(), change.fingerprint.clone());
        let Some(kept) = &change.kept else {
            written.remove(&key);
            continue;
        };
        let before = written.get(&key).and_then(|known| known.told.clone());
        let told = change.alert.as_ref().map(|alert| (alert.annotations.clone(), now_ms));
        written.insert(key, Known { kept: kept.clone(), told: told.or(before) });
    }
}

/// The state of a group as the registry has it.
pub(super) fn restore(group: &Group, written: &Written) -> GroupState {
    let mut state = GroupState::new(group);
    for (at, rule) in state.rules.iter_mut().enumerate() {
        let id = rule_id(group, at);
        let own = written.iter().filter(|((rule, _), _)| *rule == id);
        for (_, known) in own {
            let millis = |time: Option<Time>| time.map(|time| time.timestamp_millis());
            let active = Active {
                state: match known.kept.fired_at {
                    Some(_) => AlertState::Firing,
                    None => AlertState::Pending,
                },
                active_at_ms: known.kept.active_at.timestamp_millis(),
                fired_at_ms: millis(known.kept.fired_at),
                keep_firing_since_ms: millis(known.kept.keep_firing_since),
                value: Measure::Float(f64::NAN),
                annotations: known.told.as_ref().map(|(said, _)| said.clone()).unwrap_or_default(),
            };
            rule.active.insert(known.kept.labels.clone(), active);
        }
        rule.restored();
    }
    state
}

impl RuleState {
    /// The series of alerts that another evaluation, perhaps another node's, has written.
    fn restored(&mut self) {
        self.series = super::alert::all_series(&self.active);
        self.health = Health::Unknown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let text = "groups: [{name: g, rules: [{alert: A, expr: x, for: 5m}]}]";
        struct Any;
        impl super::super::Expressions for Any {
            fn check(&self, _: &str) -> Result<(), String> {
                Ok(())
            }
        }
        let minute = std::time::Duration::from_mins(1);
        super::super::parse_file("r.yml", text, minute, &Any).unwrap().remove(0)
    }

    fn active(state: AlertState, fired: Option<i64>, said: &str) -> Active {
        Active {
            state,
            active_at_ms: 1_000,
            fired_at_ms: fired,
            keep_firing_since_ms: None,
            value: Measure::Float(1.0),
            annotations: Labels::from([("a".to_owned(), said.to_owned())]),
        }
    }

    #[test]
    fn only_changes_are_written_and_they_are_restored() {
        let (group, urls) = (group(), vec!["u".to_owned()]);
        let labels = Labels::from([("alertname".to_owned(), "A".to_owned())]);
        let mut state = GroupState::new(&group);
        let mut written = Written::new();
        // It fires on by `keep_firing_for` only.
        let kept_firing = || Active {
            keep_firing_since_ms: Some(64_000),
            ..active(AlertState::Firing, Some(3_000), "z")
        };
        for (now, alert, kept, told) in [
            (1_000, Some(active(AlertState::Pending, None, "x")), Some(true), None),
            (2_000, Some(active(AlertState::Pending, None, "y")), None, None),
            (3_000, Some(active(AlertState::Firing, Some(3_000), "y")), Some(true), Some(false)),
            (4_000, Some(active(AlertState::Firing, Some(3_000), "z")), None, None),
            (63_000, Some(active(AlertState::Firing, Some(3_000), "z")), Some(true), Some(false)),
            (64_000, Some(kept_firing()), Some(true), None),
            (65_000, Some(kept_firing()), None, None),
            (66_000, Some(active(AlertState::Firing, Some(3_000), "z")), Some(true), None),
            (67_000, Some(kept_firing()), Some(true), None),
            (68_000, None, Some(false), Some(true)),
            (69_000, None, None, None),
        ] {
            state.rules[0].active.clear();
            if let Some(alert) = alert {
                state.rules[0].active.insert(labels.clone(), alert);
            }
            let found = changes(&group, &state, &written, &urls, now);
            let change = found.first();
            assert_eq!(change.map(|c| c.kept.is_some()), kept, "{now}");
            let alert = change.and_then(|c| c.alert.as_ref());
            assert_eq!(alert.map(|a| a.ends_at.is_some()), told, "{now}");
            enter(&mut written, &found, now);
            let restored = restore(&group, &written);
            let since = |state: &GroupState| {
                let all = state.rules[0].active.values();
                let times = |a: &Active| (a.active_at_ms, a.fired_at_ms, a.keep_firing_since_ms);
                all.map(|a| (a.state, times(a))).collect::<Vec<_>>()
            };
            assert_eq!(since(&restored), since(&state), "{now}");
        }
        assert!(written.is_empty());
    }

    /// Without the registry: what fires is said again with an end, and what others were told of is told to be over.
    #[test]
    fn what_fires_is_gone_on_with() {
        let (group, urls) = (group(), vec!["u".to_owned()]);
        let labels = Labels::from([("alertname".to_owned(), "A".to_owned())]);
        let alert = Alert {
            labels: labels.clone(),
            annotations: Labels::new(),
            starts_at: time(5_000),
            ends_at: None,
            updated_at: time(5_000),
            timeout: false,
            generator_url: String::new(),
            source: AlertSource::Rule,
        };
        let told = [Arc::new(alert)];
        for (rules, adopted) in [(1, 1), (2, 0)] {
            let names = BTreeMap::from([("A".to_owned(), rules)]);
            assert_eq!(adopt(&group, &told, &names).rules[0].active.len(), adopted, "{rules}");
        }
        let mut state = adopt(&group, &told, &BTreeMap::from([("A".to_owned(), 1)]));
        let mut written = known(&group, &state, 6_000);
        assert!(changes(&group, &state, &written, &urls, 7_000).is_empty());
        let again = firing(&group, &state, &urls, (7_000, 67_000));
        let [alert] = &again[..] else { panic!("{again:?}") };
        assert_eq!((alert.starts_at, alert.ends_at), (time(5_000), Some(time(67_000))));
        state.rules[0].active.clear();
        let over = changes(&group, &state, &written, &urls, 8_000);
        assert_eq!(over[0].alert.as_ref().and_then(|alert| alert.ends_at), Some(time(8_000)));
        enter(&mut written, &over, 8_000);
        assert!(written.is_empty() && firing(&group, &state, &urls, (8_000, 68_000)).is_empty());
    }
}
