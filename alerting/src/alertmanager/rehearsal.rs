//! What receivers would have been told of alerts of the past: the same board, groups and looks as in earnest, with time given
//! and everything taken at the first attempt. Pure.

use std::{collections::HashMap, fmt, sync::Arc};

use watchkeep_catalog::{Alert, AlertSilence, AlertSource, Incident, Time};

use super::{
    AlertmanagerConfig,
    board::Board,
    config::OncallConfig,
    incident::dedup_key,
    payload::Payload,
    plan::{Plan, Way},
    tell::Telling,
    words::Words,
};
use crate::paging::{Desk, Outcome, PastAlert, Told};

/// Routes, and what keeps alerts quiet.
pub(crate) struct Rehearsal {
    plan: Arc<Plan>,
    /// None where a template file is not here: its owner reads the file elsewhere.
    words: Option<Words>,
    external_url: String,
    pub(crate) silences: Vec<AlertSilence>,
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// # Errors
    /// When a matcher cannot be read; not where the file was validated.
    pub(crate) fn new(config: AlertmanagerConfig, external_url: &str) -> Result<Self, String> {
        let words = Words::new(&config, external_url).ok();
        let (plan, external_url) = (Arc::new(Plan::new(config)?), external_url.to_owned());
        Ok(Self { plan, words, external_url, silences: Vec::new() })
    }

    /// What becomes of the alerts until `until`, each in its place.
    ///
    /// # Errors
    /// When a silence cannot be read.
    pub(crate) fn tell(
        &self,
        desk: &mut Desk<'_>,
        alerts: &[PastAlert],
        until: Time,
    ) -> Result<Vec<Outcome>, String> {
        let mut board = Board::new(Arc::clone(&self.plan))?;
        for (at, silence) in (1..).zip(&self.silences) {
            board.silences.put(silence.clone(), at)?;
        }
        let mut events = Vec::new();
        let mut numbers = HashMap::new();
        for (at, past) in alerts.iter().enumerate() {
            let began = alert(past, None);
            numbers.insert((began.fingerprint(), past.fired_at), at);
            events.push((past.fired_at, 1, Arc::new(began)));
            if let Some(end) = past.ended_at {
                events.push((end, 0, Arc::new(alert(past, Some(end)))));
            }
        }
        // What ends at a time ends before others begin.
        events.sort_by_key(|(at, order, _)| (*at, *order));
        board.begin(events.first().map_or(until, |(at, ..)| *at));
        let mut run = Run {
            routes: self,
            board,
            desk,
            numbers,
            outcomes: vec![Outcome::default(); alerts.len()],
            calls: Vec::new(),
            open: HashMap::new(),
        };
        run.through(events, until);
        Ok(run.end(alerts, until))
    }
}

fn alert(past: &PastAlert, ended_at: Option<Time>) -> Alert {
    Alert {
        labels: past.labels.clone(),
        annotations: past.annotations.clone(),
        starts_at: past.fired_at,
        ends_at: ended_at,
        updated_at: ended_at.unwrap_or(past.fired_at),
        timeout: false,
        generator_url: String::new(),
        source: AlertSource::Rule,
    }
}

/// One way through the time.
struct Run<'a, 'b> {
    routes: &'a Rehearsal,
    board: Board,
    desk: &'a mut Desk<'b>,
    /// The alerts' places, by fingerprint and when they fired.
    numbers: HashMap<(u64, Time), usize>,
    outcomes: Vec<Outcome>,
    /// Alerts, and the incidents they opened.
    calls: Vec<(usize, usize)>,
    /// Incidents that are open, by what they are known by.
    open: HashMap<String, usize>,
}

impl Run<'_, '_> {
    /// Alerts come and go, and groups look at themselves when their time has come.
    fn through(&mut self, events: Vec<(Time, u8, Arc<Alert>)>, until: Time) {
        let mut events = events.into_iter().filter(|(at, ..)| *at <= until).peekable();
        let mut revision = 0;
        loop {
            let due = self.board.groups.as_ref().and_then(super::group::Groups::next_due);
            let due = due.filter(|due| *due <= until);
            let is_next = |(at, ..): &(Time, u8, Arc<Alert>)| due.is_none_or(|due| *at <= due);
            if let Some((now, _, alert)) = events.next_if(is_next) {
                revision += 1;
                self.board.put_alert(alert.fingerprint(), alert, revision, now);
            } else if let Some(now) = due {
                self.look(now);
            } else {
                return;
            }
        }
    }

    fn look(&mut self, now: Time) {
        self.note_why(now);
        for telling in self.board.due(now) {
            self.told(&telling, now);
            self.board.finish(&telling, true, now);
        }
        if let Some(groups) = &mut self.board.groups {
            groups.tidy();
        }
    }

    /// Why nobody is told of some alerts of the groups that look now.
    fn note_why(&mut self, now: Time) {
        let plan = &self.routes.plan;
        let groups = self.board.groups.iter().flat_map(super::group::Groups::iter);
        for (_, group) in groups.filter(|(_, group)| group.due_at <= now) {
            let route = &plan.tree.routes[group.route];
            let muted = plan.muted_by(route, now);
            for fingerprint in &group.alerts {
                let Some(kept) = self.board.alerts.get(fingerprint) else { continue };
                let alert = &kept.alert;
                let quiet = self.board.quiet(&alert.labels, now);
                let why = if let Some(interval) = muted.first() {
                    format!("muted by time interval {interval}")
                } else if let Some(silence) = quiet.silenced_by.first() {
                    format!("silence {silence}")
                } else if let Some(source) = quiet.inhibited_by.first() {
                    let source = self.board.alerts.get(source);
                    let name = source.and_then(|kept| kept.alert.labels.get("alertname"));
                    format!("inhibited by {}", name.map_or("another alert", String::as_str))
                } else if plan.integrations(&route.receiver).is_empty() {
                    format!("receiver {} has no integrations", route.receiver)
                } else if alert.is_resolved(now) {
                    "it was over before its group looked".to_owned() + &waits(route)
                } else {
                    continue;
                };
                if let Some(at) = self.numbers.get(&(*fingerprint, alert.starts_at)) {
                    self.outcomes[*at].nobody.get_or_insert(why);
                }
            }
        }
    }

    fn told(&mut self, telling: &Telling, now: Time) {
        if telling.alerts.is_empty() {
            return;
        }
        if let Way::Oncall(config) = &telling.integration.way {
            return self.call(config, telling, now);
        }
        for shown in &telling.alerts {
            let number = self.numbers.get(&(shown.fingerprint, shown.alert.starts_at));
            if let Some(at) = number {
                self.outcomes[*at].told.push(Told {
                    at: now,
                    whom: telling.integration.receiver.clone(),
                    way: telling.integration.way.name().to_owned(),
                    resolved: shown.resolved,
                });
            }
        }
    }

    /// The group is an incident: opened by the first that fires, resolved with the last.
    fn call(&mut self, config: &OncallConfig, telling: &Telling, now: Time) {
        let payload = Payload::new(telling, &self.routes.external_url, None);
        let (integration, group) = (&telling.integration, &telling.record.group_key);
        let key = dedup_key(&integration.receiver, group, integration.index);
        self.desk.run_until(now);
        if payload.status == "resolved" {
            if let Some(call) = self.open.remove(&key) {
                self.desk.resolve(call, now);
            }
            return;
        }
        let numbers = telling.alerts.iter().filter(|shown| !shown.resolved);
        let numbers = numbers
            .filter_map(|shown| self.numbers.get(&(shown.fingerprint, shown.alert.starts_at)));
        let numbers: Vec<usize> = numbers.copied().collect();
        if self.open.contains_key(&key) {
            for at in numbers {
                let why = "the incident of its group is open already".to_owned();
                self.outcomes[at].nobody.get_or_insert(why);
            }
            return;
        }
        let words = self.routes.words.as_ref();
        let severity = words.and_then(|words| words.text(&config.severity, &payload).ok());
        let severity = severity.unwrap_or_else(|| {
            let common = payload.common_labels.get("severity");
            common.map_or_else(|| "critical".to_owned(), Clone::clone)
        });
        let name = payload.common_labels.get("alertname").map_or("", String::as_str);
        let began = payload.alerts.iter().filter_map(|alert| alert.starts_at).min();
        let (title, began) = (name.to_owned(), began.unwrap_or(now));
        let incident = Incident::new(key.clone(), title, name, &severity, began, now);
        let call = self.desk.open(incident, config.policy.as_deref(), now);
        self.open.insert(key, call);
        self.calls.extend(numbers.into_iter().map(|at| (at, call)));
    }

    fn end(mut self, alerts: &[PastAlert], until: Time) -> Vec<Outcome> {
        self.desk.run_until(until);
        for (at, call) in self.calls {
            let Outcome { told, nobody } = self.desk.outcome(call, until);
            self.outcomes[at].told.extend(told);
            self.outcomes[at].nobody = nobody;
        }
        for (outcome, past) in self.outcomes.iter_mut().zip(alerts) {
            if !outcome.told.is_empty() {
                outcome.nobody = None;
                continue;
            }
            let tree = &self.routes.plan.tree;
            let route = tree.matching(&past.labels).first().map(|at| &tree.routes[*at]);
            outcome.nobody.get_or_insert_with(|| {
                "its group has not looked yet".to_owned() + &route.map_or_else(String::new, waits)
            });
        }
        self.outcomes
    }
}

fn waits(route: &super::route::Route) -> String {
    format!(" (group_wait {}s)", route.group_wait.delta().num_seconds())
}
