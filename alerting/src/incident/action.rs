//! What people do about an incident: each a transition that leaves a line in the timeline. Pure.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Incident, IncidentStatus, Time};

use super::{Refusal, acknowledge, call, fresh_reason, hush, note, refuse_resolved, resolve};
use crate::{
    escalation,
    rules::Rules,
    text::{instant, shorten},
};

/// Longest note, in characters.
const NOTE_MAX: usize = 4_000;
/// Longest snooze.
const SNOOZE_MAX: TimeDelta = TimeDelta::days(30);
/// People that one action can name, and responders of one incident.
const PEOPLE_MAX: usize = 50;

/// An action, as the API takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields, expecting = "an object")]
pub(crate) enum Action {
    /// Taken: nobody else is called.
    Acknowledge { by: String },
    /// Given back: the escalation goes on.
    Unacknowledge { by: String },
    /// Taken until then; afterwards it calls again. One of the two.
    Snooze { by: String, seconds: Option<i64>, until: Option<Time> },
    /// These people and teams are called instead, or another policy begins. One of the two.
    Reassign {
        by: String,
        #[serde(default)]
        to: Vec<String>,
        escalation: Option<String>,
    },
    /// These people and teams are called, too.
    AddResponder { by: String, to: Vec<String> },
    /// A line in the timeline.
    Note { by: String, text: String },
    /// It is over.
    Resolve {
        by: String,
        #[serde(default)]
        text: String,
    },
}

impl Action {
    /// Who does it.
    pub(crate) fn by(&self) -> &str {
        match self {
            Self::Acknowledge { by }
            | Self::Unacknowledge { by }
            | Self::Snooze { by, .. }
            | Self::Reassign { by, .. }
            | Self::AddResponder { by, .. }
            | Self::Note { by, .. }
            | Self::Resolve { by, .. } => by,
        }
    }
}

/// Does it; true when something changed.
///
/// # Errors
/// When it is resolved already, or what the action names makes no sense.
pub(crate) fn act(
    incident: &mut Incident,
    action: &Action,
    rules: &Rules,
    now: Time,
) -> Result<bool, Refusal> {
    match action {
        Action::Acknowledge { by } => acknowledge(incident, by, now),
        Action::Unacknowledge { by } => unacknowledge(incident, by, rules, now),
        Action::Snooze { by, seconds, until } => {
            snooze(incident, by, snooze_end(*seconds, *until, now)?, now)
        }
        Action::Reassign { by, to, escalation } => {
            reassign(incident, by, to, escalation.as_deref(), rules, now)
        }
        Action::AddResponder { by, to } => add_responders(incident, by, to, rules, now),
        Action::Note { by, text } => {
            let text = text.trim();
            if text.is_empty() {
                return Err(Refusal::Wrong("text: the note is empty".to_owned()));
            }
            // After the end, too: that is when people write down what it was.
            note(incident, now, by, format!("note: {}", shorten(text, NOTE_MAX)));
            Ok(true)
        }
        Action::Resolve { by, text } => {
            let why = match text.trim() {
                "" => "resolved".to_owned(),
                text => format!("resolved: {}", shorten(text, NOTE_MAX)),
            };
            resolve(incident, by, &why, now).map(|()| true)
        }
    }
}

/// Given back: whoever was called last is called again, and the escalation goes on from there.
fn unacknowledge(
    incident: &mut Incident,
    by: &str,
    rules: &Rules,
    now: Time,
) -> Result<bool, Refusal> {
    refuse_resolved(incident, "give back")?;
    if incident.status == IncidentStatus::Triggered {
        let text =
            format!("incident {}: nobody has taken it, so it cannot be given back", incident.id);
        return Err(Refusal::Senseless(text));
    }
    note(incident, now, by, "given back");
    escalation::resume(incident, rules, now);
    Ok(true)
}

fn snooze_end(seconds: Option<i64>, until: Option<Time>, now: Time) -> Result<Time, Refusal> {
    let (end, said) = match (seconds, until) {
        (Some(seconds), None) => {
            let end = TimeDelta::try_seconds(seconds).and_then(|s| now.checked_add_signed(s));
            (end, format!("seconds: {seconds}"))
        }
        (None, Some(until)) => (Some(until), format!("until: {}", instant(until))),
        _ => {
            let text = "snooze: give seconds or until, one of the two";
            return Err(Refusal::Wrong(text.to_owned()));
        }
    };
    match end {
        Some(end) if end > now && end - now <= SNOOZE_MAX => Ok(end),
        _ => Err(Refusal::Wrong(format!(
            "snooze: {said} is out of range: give an end between now and 30 days (2592000 seconds) from now"
        ))),
    }
}

fn snooze(incident: &mut Incident, by: &str, until: Time, now: Time) -> Result<bool, Refusal> {
    refuse_resolved(incident, "snooze")?;
    incident.status = IncidentStatus::Acknowledged;
    incident.acknowledged_at = Some(now);
    incident.acknowledged_by = Some(by.to_owned());
    incident.snoozed_until = Some(until);
    hush(incident, |_| true);
    note(incident, now, by, format!("snoozed until {}", instant(until)));
    Ok(true)
}

fn reassign(
    incident: &mut Incident,
    by: &str,
    to: &[String],
    policy: Option<&str>,
    rules: &Rules,
    now: Time,
) -> Result<bool, Refusal> {
    refuse_resolved(incident, "reassign")?;
    match (to, policy) {
        ([], Some(name)) => {
            rules.check_escalation(name)?;
            note(incident, now, by, format!("reassigned to escalation policy {name}"));
            escalation::restart(incident, name, now);
        }
        ([_, ..], None) => {
            let people = people(to, rules)?;
            note(incident, now, by, format!("reassigned to {}", to.join(", ")));
            escalation::assign(incident, &people, rules, now);
        }
        _ => {
            let text = "reassign: give to (people, teams) or escalation (a policy), one of the two";
            return Err(Refusal::Wrong(text.to_owned()));
        }
    }
    Ok(true)
}

fn add_responders(
    incident: &mut Incident,
    by: &str,
    to: &[String],
    rules: &Rules,
    now: Time,
) -> Result<bool, Refusal> {
    refuse_resolved(incident, "add a responder to")?;
    let people = people(to, rules)?;
    let new: Vec<String> =
        people.iter().filter(|name| !incident.responders.contains(name)).cloned().collect();
    if new.is_empty() {
        let text = format!(
            "incident {}: {} asked for help already: reassign it to call again",
            incident.id,
            match people.as_slice() {
                [one] => format!("{one} was"),
                many => format!("{} were", many.join(", ")),
            }
        );
        return Err(Refusal::Senseless(text));
    }
    if incident.responders.len() + new.len() > PEOPLE_MAX {
        let text = format!("an incident has at most {PEOPLE_MAX} responders");
        return Err(Refusal::Senseless(text));
    }
    note(incident, now, by, format!("asked for help: {}", new.join(", ")));
    let urgent = rules.is_urgent(&incident.severity);
    let calls: Vec<_> = new.iter().flat_map(|person| rules.calls(person, urgent)).collect();
    let reason = fresh_reason(incident, "help", now);
    call(incident, &reason, &calls, now);
    incident.responders.extend(new);
    Ok(true)
}

/// Whom names of people and teams mean.
fn people(names: &[String], rules: &Rules) -> Result<Vec<String>, Refusal> {
    let people = rules.people(names)?;
    if people.is_empty() || people.len() > PEOPLE_MAX {
        let count = people.len();
        return Err(Refusal::Wrong(format!("to: it names {count} people: name 1 to {PEOPLE_MAX}")));
    }
    Ok(people)
}
