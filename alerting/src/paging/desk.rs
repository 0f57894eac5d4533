//! Incidents that nobody takes: each calls by its policy, step by step, until it is resolved. Pure.

use std::collections::BTreeSet;

use watchkeep_catalog::{Incident, PageKind, Time};

use super::{Outcome, Told};
use crate::{
    escalation::{self, RoundRobin},
    incident::{self, WATCHKEEP},
    rules::Rules,
};

/// Incidents by their numbers, and who is called by them.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    rules: &'a Rules,
    robin: RoundRobin,
    calls: Vec<Call>,
    /// When the next step of which is due.
    due: BTreeSet<(Time, usize)>,
}

#[derive(Debug)]
struct Call {
    incident: Incident,
    /// Its pages up to here are told.
    pages: usize,
    told: Vec<Told>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(rules: &'a Rules) -> Self {
        Self { rules, robin: RoundRobin::default(), calls: Vec::new(), due: BTreeSet::new() }
    }

    /// Opens an incident that calls by the policy `wanted`, else as `pages` says. Answers with its number.
    pub(crate) fn open(&mut self, incident: Incident, wanted: Option<&str>, now: Time) -> usize {
        let at = self.calls.len();
        let mut call = Call { incident, pages: 0, told: Vec::new() };
        incident::tell(&mut call.incident, self.rules, wanted, now);
        call.take(now);
        self.calls.push(call);
        self.advance(at, now);
        at
    }

    /// Takes every step that is due before `now`, in the order of time.
    pub(crate) fn run_until(&mut self, now: Time) {
        while let Some((due, at)) = self.due.first().copied().filter(|(due, _)| *due < now) {
            self.due.remove(&(due, at));
            self.advance(at, due);
        }
    }

    fn advance(&mut self, at: usize, now: Time) {
        let call = &mut self.calls[at];
        if escalation::advance(&mut call.incident, self.rules, &mut self.robin, now) {
            call.take(now);
        }
        if let Some(next) = escalation::wake(&call.incident) {
            self.due.insert((next, at));
        }
    }

    /// It is over: whoever was told is told so.
    pub(crate) fn resolve(&mut self, at: usize, now: Time) {
        let call = &mut self.calls[at];
        call.told.retain(|told| told.at <= now);
        // Once only: the incident is the desk's own.
        let _ = incident::resolve(&mut call.incident, WATCHKEEP, "it is over", now);
        let over = call.incident.pages.iter().filter(|page| page.kind == PageKind::Resolved);
        call.told.extend(over.map(|page| Told {
            at: now,
            whom: page.receiver.clone(),
            way: page.channel.clone(),
            resolved: true,
        }));
        self.due.retain(|(_, other)| *other != at);
    }

    /// What came of an incident until `until`.
    pub(crate) fn outcome(&self, at: usize, until: Time) -> Outcome {
        let Call { incident, told, .. } = &self.calls[at];
        let told: Vec<Told> = told.iter().filter(|told| told.at <= until).cloned().collect();
        let nobody = told.is_empty().then(|| self.nobody(incident));
        Outcome { told, nobody }
    }

    /// Why nobody was called.
    fn nobody(&self, incident: &Incident) -> String {
        if incident.escalation.is_some() {
            let texts = incident.timeline.iter().map(|note| note.text.as_str());
            let said = texts.filter(|text| text.contains("nobody is on call"));
            let said: Vec<&str> = said.collect();
            return match said.first() {
                Some(first) => (*first).to_owned(),
                None => "no step of its escalation policy reaches anybody".to_owned(),
            };
        }
        match (&self.rules.pages.schedule, &incident.on_call) {
            (Some(_), Some(person)) => {
                format!("{person} is on call, and nothing says how to reach them")
            }
            (Some(schedule), None) => format!("nobody is on call by schedule {schedule}"),
            (None, _) => {
                "pages.escalation, pages.schedule and pages.receivers are not set".to_owned()
            }
        }
    }
}

impl Call {
    /// Notes who is called by the pages that are new.
    fn take(&mut self, now: Time) {
        let new = self.incident.pages.iter().skip(self.pages);
        self.told.extend(new.map(|page| Told {
            at: page.not_before.unwrap_or(now),
            whom: page.receiver.clone(),
            way: page.channel.clone(),
            resolved: false,
        }));
        self.pages = self.incident.pages.len();
    }
}
