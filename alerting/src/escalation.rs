//! Who is called next: a pure function of an incident, its policy and the time.
//!
//! The state is part of the incident's record: which step comes next, and when. [`advance`] takes the step that is due and
//! says so in the timeline; its pages are pending in the same record. So whoever leads next goes on where this one stopped,
//! and no step comes twice.
//!
//! ```text
//! step 0 ─wait─▶ step 1 ─wait─▶ … ─▶ step 0, round 2 ─▶ … ─wait─▶ last resort
//!    acknowledged: nothing more is called          given back, or the snooze is over: the last step again, and on from there
//! ```

use std::collections::BTreeMap;

use chrono::TimeDelta;
use watchkeep_catalog::{Escalation, Incident, IncidentStatus, Time};

use crate::{
    config::{EscalationPolicy, Target},
    incident::{self, Recipient, WATCHKEEP},
    rules::Rules,
};

/// Which target of a step with round robin has the next turn, by policy and step. Kept by the leader, begun anew from the
/// incidents on record: a number that is left out does no harm.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(BTreeMap<(String, u32), u64>);

impl RoundRobin {
    /// Takes in what an incident says about turns that were had.
    pub(crate) fn learn(&mut self, incident: &Incident) {
        let Some(Escalation { policy, turns, .. }) = &incident.escalation else { return };
        for (step, turn) in turns {
            let next = self.0.entry((policy.clone(), *step)).or_default();
            *next = (*next).max(turn + 1);
        }
    }

    fn take(&mut self, policy: &str, step: u32) -> u64 {
        let next = self.0.entry((policy.to_owned(), step)).or_default();
        *next += 1;
        *next - 1
    }
}

/// When [`advance`] has something to do next; none: never, as things stand. Pages that are sent later need no waking: it
/// is looked for them all the time.
pub(crate) fn wake(incident: &Incident) -> Option<Time> {
    match incident.status {
        IncidentStatus::Triggered => incident.escalation.as_ref().and_then(|e| e.due),
        IncidentStatus::Acknowledged => incident.snoozed_until,
        IncidentStatus::Resolved => None,
    }
}

/// Takes what is due at `now`; true when something has changed.
pub(crate) fn advance(
    incident: &mut Incident,
    rules: &Rules,
    robin: &mut RoundRobin,
    now: Time,
) -> bool {
    let mut changed = false;
    if incident.status == IncidentStatus::Acknowledged
        && incident.snoozed_until.is_some_and(|until| until <= now)
    {
        incident::note(incident, now, WATCHKEEP, "the snooze is over");
        resume(incident, rules, now);
        changed = true;
    }
    while let Some(due) = due(incident, now) {
        step(incident, rules, robin, due, now);
        changed = true;
    }
    changed
}

fn due(incident: &Incident, now: Time) -> Option<Time> {
    let due = incident.escalation.as_ref()?.due?;
    (incident.status == IncidentStatus::Triggered && due <= now).then_some(due)
}

/// Takes the step that is due.
fn step(incident: &mut Incident, rules: &Rules, robin: &mut RoundRobin, due: Time, now: Time) {
    let Some(mut state) = incident.escalation.clone() else { return };
    let Some(policy) = rules.escalations.iter().find(|policy| policy.name == state.policy) else {
        let text = format!("escalation policy {} is not configured any more", state.policy);
        incident::note(incident, now, WATCHKEEP, text);
        state.due = None;
        incident.escalation = Some(state);
        return;
    };
    let urgent = rules.is_urgent(&incident.severity);
    let current = policy.steps.get(state.step as usize);
    let mut calls = Vec::new();
    let targets = current.map_or(&policy.last_resort, |step| &step.targets);
    for target in targets {
        calls.extend(rules.targets(target, urgent, now));
    }
    if current.is_some_and(|step| step.round_robin) && !calls.is_empty() {
        let had = state.turns.get(&state.step).filter(|_| state.again).copied();
        let turn = had.unwrap_or_else(|| robin.take(&policy.name, state.step));
        state.turns.insert(state.step, turn);
        keep_turn(&mut calls, turn);
    }
    let called = names(&calls);
    // Until now it was whoever the policy names first.
    if state.taken == 0
        && current.is_some_and(|step| step.round_robin)
        && let Some(person) = called.iter().find(|name| rules.is_person(name))
    {
        incident.on_call = Some(person.clone());
    }
    let (round, number) = (state.round + 1, state.step + 1);
    let place = match current {
        Some(_) if policy.repeat > 0 => format!("step {number}, round {round}"),
        Some(_) => format!("step {number}"),
        None => "last resort".to_owned(),
    };
    let text = if called.is_empty() {
        format!("escalation {}, {place}: nobody is on call ({})", policy.name, say(targets))
    } else {
        format!("escalation {}, {place}: calling {}", policy.name, called.join(", "))
    };
    incident::note(incident, now, WATCHKEEP, text);
    state.taken += 1;
    state.again = false;
    incident::call(incident, &format!("step-{}", state.taken), &calls, now);
    let begins_anew = state.step as usize + 1 == policy.steps.len() && state.round < policy.repeat;
    let wait = match current {
        // Nobody is there to wait for; but before the next round somebody's shift may begin.
        Some(_) if called.is_empty() && !begins_anew => TimeDelta::zero(),
        Some(step) => TimeDelta::seconds(i64::from(step.wait_seconds)),
        None => TimeDelta::zero(),
    };
    // From when it was due, so that steps do not drift; from now when that is long ago, such as after a take-over.
    let next = if due + wait > now { due + wait } else { now + wait };
    go_on(&mut state, policy, next);
    if state.due.is_none() && current.is_some() {
        let text = format!("escalation {}: nobody else is left to call", policy.name);
        incident::note(incident, now, WATCHKEEP, text);
    }
    incident.escalation = Some(state);
}

/// What comes after the step that was just taken.
fn go_on(state: &mut Escalation, policy: &EscalationPolicy, next: Time) {
    let steps = u32::try_from(policy.steps.len()).unwrap_or(u32::MAX);
    state.last = state.step;
    state.due = Some(next);
    if state.step + 1 < steps {
        state.step += 1;
    } else if state.step < steps && state.round < policy.repeat {
        (state.step, state.round) = (0, state.round + 1);
    } else if state.step < steps && !policy.last_resort.is_empty() {
        state.step = steps;
    } else {
        state.due = None;
    }
}

/// Of all who could be called only the one whose turn it is.
fn keep_turn(calls: &mut Vec<(Recipient, TimeDelta)>, turn: u64) {
    let names = names(calls);
    // The remainder is below the number of names, so it is a usize.
    let name = names[(turn % names.len() as u64) as usize].clone();
    calls.retain(|(recipient, _)| recipient.receiver == name);
}

fn names(calls: &[(Recipient, TimeDelta)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (Recipient { receiver, .. }, _) in calls {
        if !names.contains(receiver) {
            names.push(receiver.clone());
        }
    }
    names
}

fn say(targets: &[Target]) -> String {
    let words = targets.iter().map(|target| match target {
        Target::Schedule(name) => format!("schedule {name}"),
        Target::Person(name) => format!("person {name}"),
        Target::Team(name) => format!("team {name}"),
        Target::Receiver(name) => format!("receiver {name}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// It calls again: whoever it was given to, or the last step and on from there, or whoever was told when it opened.
pub(crate) fn resume(incident: &mut Incident, rules: &Rules, now: Time) {
    trigger(incident);
    if !incident.assigned.is_empty() {
        let people = incident.assigned.clone();
        return call_people(incident, &people, rules, now);
    }
    if let Some(state) = &mut incident.escalation {
        // The round had just begun with what was to come next.
        if state.due.is_some() && state.step <= state.last {
            state.round = state.round.saturating_sub(1);
        }
        state.step = state.last;
        state.due = Some(now);
        state.again = true;
        return;
    }
    let mut again: Vec<(Recipient, TimeDelta)> = Vec::new();
    for page in incident.pages.iter().filter(|page| page.calls) {
        let recipient = Recipient {
            receiver: page.receiver.clone(),
            channel: page.channel.clone(),
            to: page.to.clone(),
        };
        let delay = page.not_before.map_or(TimeDelta::zero(), |at| at - incident.opened_at);
        if !again.iter().any(|(known, _)| *known == recipient) {
            again.push((recipient, delay));
        }
    }
    let reason = incident::fresh_reason(incident, "again", now);
    incident::call(incident, &reason, &again, now);
}

/// A policy begins, from its first step.
pub(crate) fn restart(incident: &mut Incident, policy: &str, now: Time) {
    trigger(incident);
    incident::hush(incident, |_| true);
    incident.assigned.clear();
    let taken = incident.escalation.as_ref().map_or(0, |state| state.taken);
    incident.escalation = Some(Escalation {
        policy: policy.to_owned(),
        round: 0,
        step: 0,
        due: Some(now),
        last: 0,
        taken,
        turns: BTreeMap::new(),
        again: false,
    });
}

/// It is these people's from now on: they are called, and nobody else.
pub(crate) fn assign(incident: &mut Incident, people: &[String], rules: &Rules, now: Time) {
    trigger(incident);
    incident::hush(incident, |_| true);
    if let Some(state) = &mut incident.escalation {
        state.due = None;
    }
    incident.assigned = people.to_vec();
    call_people(incident, people, rules, now);
}

fn call_people(incident: &mut Incident, people: &[String], rules: &Rules, now: Time) {
    let urgent = rules.is_urgent(&incident.severity);
    let calls: Vec<_> = people.iter().flat_map(|person| rules.calls(person, urgent)).collect();
    let reason = incident::fresh_reason(incident, "assigned", now);
    incident::call(incident, &reason, &calls, now);
}

fn trigger(incident: &mut Incident) {
    incident.status = IncidentStatus::Triggered;
    incident.acknowledged_at = None;
    incident.acknowledged_by = None;
    incident.snoozed_until = None;
}

#[cfg(test)]
mod tests;
