//! The decision on one instance: from what is known to what is to be written. Pure.
//!
//! Everything that follows from a verdict is in one [`Decision`] and so in one transaction: the verdict, the
//! failover that answers it, the incident with its pages. Nothing of it can be lost or happen twice, whoever
//! leads next. What leaves the house (callbacks, pages) is not here: it follows from the records.

use chrono::TimeDelta;
use watchkeep_catalog::{
    Failover, Incident, Instance, Panic, Silence, SilenceReason, Status, Time, Verdict,
};

use crate::{
    fleet,
    incident::{self, WATCHKEEP},
    mirror::{Target, Versioned},
    rules::Rules,
    verdict::{Heard, Jury, Tally, tally},
};

mod open;

use open::open;

/// The alert of a critical instance; it has a runbook of this name.
pub(crate) const INSTANCE_CRITICAL: &str = "InstanceCritical";
/// What the timeline says when a critical instance loses its registration.
const VANISHED: &str = "deregistered while critical: the incident stays open until the instance comes back and passes, \
    or somebody resolves it";

/// What is known of an instance.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) target: &'a Target,
    /// None: it is not registered.
    pub(crate) instance: Option<&'a Instance>,
    pub(crate) opinions: Vec<Heard<'a>>,
    pub(crate) verdict: Option<&'a Versioned<Verdict>>,
    /// The incident about it that is not resolved.
    pub(crate) open: Option<&'a Versioned<Incident>>,
    /// Who decides on its checks.
    pub(crate) jury: Jury,
    /// Why nobody would be told if it is critical.
    pub(crate) quiet: Option<Quiet<'a>>,
    /// What the other instances of its service make of it.
    pub(crate) hold: Hold<'a>,
    /// Who decides.
    pub(crate) node: &'a str,
    /// Failovers are stopped.
    pub(crate) stopped: bool,
}

/// Why nobody is told.
#[derive(Debug, Clone)]
pub(crate) struct Quiet<'a> {
    pub(crate) silence: Silence,
    /// The incident that tells of it instead.
    pub(crate) instead: Option<&'a Versioned<Incident>>,
}

/// Whether a critical instance is believed to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hold<'a> {
    /// It is.
    Free,
    /// It is to be seen first whether the others fail with it.
    Later,
    /// Too many are: none is believed.
    Panic(&'a Panic),
}

/// What is to be written, at once and only if nothing of it has changed meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) target: Target,
    /// The verdict from now on; none: it is deleted.
    pub(crate) verdict: Option<Verdict>,
    /// The verdict key's revision the decision is made on; 0: there was none.
    pub(crate) verdict_revision: i64,
    /// The incident from now on, if it changes.
    pub(crate) incident: Option<Incident>,
    /// Its key's revision the decision is made on; 0: it is new.
    pub(crate) incident_revision: i64,
    /// A new failover.
    pub(crate) failover: Option<Failover>,
    /// The instance's registration is removed if it is still at this revision.
    pub(crate) deregister: Option<i64>,
}

/// Decides; none when everything is as it should be.
pub(crate) fn decide(view: &View<'_>, rules: &Rules, now: Time) -> Option<Decision> {
    let Some(instance) = view.instance else { return vanish(view, now) };
    if instance.checks.is_empty() {
        return end(view, "it has no checks any more", now);
    }
    let tally = tally(instance, &view.opinions, view.jury)?;
    let before = view.verdict.map(|verdict| verdict.record.status);
    if tally.status == Status::Critical {
        match view.hold {
            Hold::Panic(panic) => return keep(view, instance, panic, &tally, now),
            Hold::Later if before != Some(Status::Critical) => return None,
            Hold::Later | Hold::Free => {}
        }
    }
    if before == Some(tally.status) {
        return quieten(view, instance, &tally, rules, now);
    }
    let mut decision = written(view, verdict(view.target, &tally, never_passed(view), now));
    match (tally.status, view.open) {
        (Status::Critical, Some(open)) => {
            let mut open = open.record.clone();
            incident::note(&mut open, now, WATCHKEEP, format!("critical again: {}", tally.reason));
            decision.incident = Some(open);
            silence(&mut decision, view, now);
        }
        (Status::Critical, None) if view.quiet.is_some() => silence(&mut decision, view, now),
        (Status::Critical, None) => {
            let (incident, failover) =
                open(view, instance, &tally, decision.verdict_revision, rules, now);
            (decision.incident, decision.failover) = (Some(incident), failover);
        }
        (Status::Passing, Some(open)) => {
            decision.incident =
                Some(resolved(&open.record, &format!("passing again: {}", tally.reason), now));
        }
        (Status::Passing, None) => {}
    }
    Some(decision)
}

/// Nothing but a verdict, so far.
fn written(view: &View<'_>, verdict: Verdict) -> Decision {
    Decision {
        target: view.target.clone(),
        verdict: Some(verdict),
        verdict_revision: revision(view.verdict),
        incident: None,
        incident_revision: revision(view.open),
        failover: None,
        deregister: None,
    }
}

/// It is as it was. But perhaps the reason for silence is another, or there is none any more: then everything comes that
/// would have come at once.
fn quieten(
    view: &View<'_>,
    instance: &Instance,
    tally: &Tally,
    rules: &Rules,
    now: Time,
) -> Option<Decision> {
    let before = &view.verdict?.record;
    let silence_now = view.quiet.as_ref().map(|quiet| &quiet.silence);
    // A passing instance has nothing to be quiet about; nor has one whose incident a person has resolved.
    let nothing = before.silenced.is_none() && view.open.is_none();
    if tally.status == Status::Passing || nothing || before.silenced.as_ref() == silence_now {
        return None;
    }
    let mut decision = written(view, Verdict { silenced: None, ..before.clone() });
    match (&view.quiet, view.open) {
        (Some(_), _) => silence(&mut decision, view, now),
        (None, Some(_)) => {}
        (None, None) => {
            let tally = Tally { first_seen: before.first_seen, ..tally.clone() };
            let (mut incident, failover) =
                open(view, instance, &tally, decision.verdict_revision, rules, now);
            if let Some(silence) = &before.silenced {
                let text = format!("nobody was told until now: {}", why(silence));
                incident::note(&mut incident, now, WATCHKEEP, text);
            }
            (decision.incident, decision.failover) = (Some(incident), failover);
        }
    }
    Some(decision)
}

/// Writes the reason into the verdict, and into the incident that is open for it or tells of it instead.
fn silence(decision: &mut Decision, view: &View<'_>, now: Time) {
    let (Some(quiet), Some(verdict)) = (&view.quiet, &mut decision.verdict) else { return };
    verdict.silenced = Some(quiet.silence.clone());
    if let Some(open) = view.open {
        let incident = decision.incident.get_or_insert_with(|| open.record.clone());
        incident::note(incident, now, WATCHKEEP, format!("silenced: {}", why(&quiet.silence)));
        return;
    }
    if quiet.silence.reason != SilenceReason::Dependency {
        return;
    }
    let Some(instead) = quiet.instead else { return };
    let service = &view.target.service;
    let text = format!("{service} depends on it: nobody is told of {service} while this lasts");
    if instead.record.timeline.iter().all(|note| note.text != text) {
        let mut incident = instead.record.clone();
        incident::note(&mut incident, now, WATCHKEEP, text);
        (decision.incident, decision.incident_revision) = (Some(incident), instead.mod_revision);
    }
}

/// A silence in words.
fn why(silence: &Silence) -> String {
    let Silence { reason, by, incident } = silence;
    match (reason, incident) {
        (SilenceReason::Maintenance, _) => format!("maintenance window {by}"),
        (SilenceReason::Waiting, _) => format!("whether {by}, which it depends on, is down"),
        (SilenceReason::Dependency, Some(incident)) => {
            format!("it depends on {by}, which is down: incident {incident}")
        }
        (SilenceReason::Dependency, None) => format!("it depends on {by}, which is down"),
    }
}

/// In panic the last good set is kept. What failed with the others, but before there were too many of them, goes back to it.
fn keep(
    view: &View<'_>,
    instance: &Instance,
    panic: &Panic,
    tally: &Tally,
    now: Time,
) -> Option<Decision> {
    let before = &view.verdict?.record;
    let with_the_others = before.since > panic.since - fleet::settle(instance) * 2;
    if before.status != Status::Critical || !with_the_others {
        return None;
    }
    let Panic { critical, instances, .. } = panic;
    let reason = format!("panic: {critical} of {instances} instances seem critical at once");
    let kept = Verdict {
        status: Status::Passing,
        agree: 0,
        reason: reason.clone(),
        ..verdict(view.target, tally, never_passed(view), now)
    };
    let mut decision = written(view, kept);
    let text = format!("{reason}; incident {} tells of it", panic.incident);
    decision.incident = view.open.map(|open| resolved(&open.record, &text, now));
    Some(decision)
}

/// The instance is registered no more: the verdict goes. Whatever died took its heartbeat with it, so that a
/// registration has run out proves nothing is well: an open incident stays open until the instance comes back and
/// passes, or a person resolves it.
fn vanish(view: &View<'_>, now: Time) -> Option<Decision> {
    view.verdict?;
    let noted = view.open.map(|open| {
        let mut incident = open.record.clone();
        incident::note(&mut incident, now, WATCHKEEP, VANISHED.to_owned());
        incident
    });
    Some(Decision {
        target: view.target.clone(),
        verdict: None,
        verdict_revision: revision(view.verdict),
        incident: noted,
        incident_revision: revision(view.open),
        failover: None,
        deregister: None,
    })
}

/// Nothing of it is probed any more: the verdict goes, an open incident ends.
fn end(view: &View<'_>, why: &str, now: Time) -> Option<Decision> {
    if view.verdict.is_none() && view.open.is_none() {
        return None;
    }
    Some(Decision {
        target: view.target.clone(),
        verdict: None,
        verdict_revision: revision(view.verdict),
        incident: view.open.map(|open| resolved(&open.record, why, now)),
        incident_revision: revision(view.open),
        failover: None,
        deregister: None,
    })
}

/// When an instance that stays critical is to be deregistered: the most impatient of its critical checks says so. None while
/// nobody is told of it, or it is not believed.
pub(crate) fn deregister_at(view: &View<'_>) -> Option<Time> {
    let (instance, verdict) = (view.instance?, &view.verdict?.record);
    let believed = matches!(view.hold, Hold::Free) && view.quiet.is_none();
    if verdict.status != Status::Critical || !believed {
        return None;
    }
    let tally = tally(instance, &view.opinions, view.jury)?;
    let critical = instance.checks.iter().filter(|check| tally.critical.contains(&check.name));
    let seconds = critical.filter_map(|check| check.deregister_after_seconds).min()?;
    verdict.since.checked_add_signed(TimeDelta::try_seconds(i64::try_from(seconds).ok()?)?)
}

/// Its registration at `registered` goes, and its verdict with it.
pub(crate) fn deregister(view: &View<'_>, registered: i64, now: Time) -> Decision {
    let noted = view.open.map(|open| {
        let mut incident = open.record.clone();
        let text = "deregistered: critical for longer than deregister_after_seconds; the incident stays open until the \
                    instance comes back and passes, or somebody resolves it";
        incident::note(&mut incident, now, WATCHKEEP, text);
        incident
    });
    Decision {
        target: view.target.clone(),
        verdict: None,
        verdict_revision: revision(view.verdict),
        incident: noted,
        incident_revision: revision(view.open),
        failover: None,
        deregister: Some(registered),
    }
}

fn revision<T>(record: Option<&Versioned<T>>) -> i64 {
    record.map_or(0, |record| record.mod_revision)
}

/// Whether it has not passed once until now.
fn never_passed(view: &View<'_>) -> bool {
    view.verdict.is_none_or(|verdict| verdict.record.never_passed)
}

/// The verdict's record; `never_passed` until now.
pub(crate) fn verdict(target: &Target, tally: &Tally, never_passed: bool, now: Time) -> Verdict {
    Verdict {
        service: target.service.clone(),
        instance: target.instance.clone(),
        status: tally.status,
        since: now,
        first_seen: tally.first_seen,
        reason: tally.reason.clone(),
        agree: tally.agree,
        opinions: tally.opinions,
        trace_parent: tally.trace_parent.clone(),
        silenced: None,
        never_passed: never_passed && tally.status == Status::Critical,
    }
}

pub(crate) fn resolved(open: &Incident, why: &str, now: Time) -> Incident {
    let mut incident = open.clone();
    // An open incident is never refused, and only open ones come here.
    let _ = incident::resolve(&mut incident, WATCHKEEP, why, now);
    incident
}

#[cfg(test)]
mod tests;
