//! `GET /v1/oncall[?at=RFC3339][&schedule=name]`: who is on call, since and until when, and who is next; the final schedule
//! of a span, and calendars.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use chrono::{Datelike, TimeDelta};
use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::{Asked, Problem};
use crate::{
    clock,
    config::undefined,
    context::Context,
    oncall::{self, Changes, Duty, Entry, Schedule, Shift, YEAR_MAX, YEAR_MIN},
    rules::Rules,
};

/// Longest span of a final schedule.
const SPAN_MAX: TimeDelta = TimeDelta::days(400);
/// A calendar shows so much of the past and of the time to come; shifts of up to another month are shown whole.
const CALENDAR: (TimeDelta, TimeDelta) = (TimeDelta::days(31), TimeDelta::days(184));
const WHOLE: TimeDelta = TimeDelta::days(31);
/// Who is on call is asked most when nothing else answers: so long the registry is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    at: Option<String>,
    schedule: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OnCall {
    schedule: String,
    time_zone: &'static str,
    #[serde(flatten)]
    shift: Shift,
    email: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    registry_lost: bool,
}

/// What people changed, and whether that is what was known last, since the registry does not answer.
async fn changes(context: &Context) -> Result<(Changes, bool), Problem> {
    let Some(known) = context.alone.changes() else {
        return Ok((oncall::read_changes(&context.client).await?, false));
    };
    if context.metrics.registry_lost.get() > 0 {
        return Ok((known, true));
    }
    match tokio::time::timeout(ANSWER_MAX, oncall::read_changes(&context.client)).await {
        Ok(Ok(changes)) => Ok((changes, false)),
        Ok(Err(_)) | Err(_) => Ok((known, true)),
    }
}

pub(super) async fn who(
    State(context): State<Arc<Context>>,
    Asked(question): Asked<Question>,
) -> Result<Json<OnCall>, Problem> {
    let at = question.at.as_deref().map_or_else(|| Ok(clock::now()), |at| instant("at", at))?;
    let rules = &context.rules;
    let schedule = schedule(rules, question.schedule.as_deref())?;
    let (changes, registry_lost) = changes(&context).await?;
    let shift = schedule.who(at, changes.get(&schedule.name).map_or(&[], Vec::as_slice));
    let contact = shift.person.as_ref().and_then(|person| rules.contacts.get(person));
    let email = contact.and_then(|contact| contact.email.clone());
    let time_zone = schedule.time_zone();
    Ok(Json(OnCall { schedule: schedule.name.clone(), time_zone, shift, email, registry_lost }))
}

/// `GET /v1/oncall/schedules`: their names.
pub(super) async fn names(State(context): State<Arc<Context>>) -> Json<serde_json::Value> {
    let names: Vec<&str> = context.rules.schedules.iter().map(|s| s.name.as_str()).collect();
    Json(serde_json::json!({ "schedules": names }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Within {
    from: Option<String>,
    to: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Final {
    schedule: String,
    time_zone: &'static str,
    from: Time,
    to: Time,
    shifts: Vec<Duty>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    registry_lost: bool,
}

/// `GET /v1/oncall/schedules/{name}?from=&to=`: by default two weeks from now.
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    Asked(Within { from, to }): Asked<Within>,
) -> Result<Json<Final>, Problem> {
    let schedule = schedule(&context.rules, Some(&name))?;
    let read = |name, text: Option<String>| text.map(|text| instant(name, &text)).transpose();
    let from = read("from", from)?.unwrap_or_else(clock::now);
    let to = read("to", to)?.unwrap_or(from + TimeDelta::days(14));
    if to <= from || to - from > SPAN_MAX {
        let days = SPAN_MAX.num_days();
        return Err(Problem::bad_request(format!(
            "to: give a time behind from ({from}), at most {days} days"
        )));
    }
    let (changes, registry_lost) = changes(&context).await?;
    let changes = changes.get(&schedule.name).map_or(&[][..], Vec::as_slice);
    let shifts = schedule.duties(from, to, changes);
    let time_zone = schedule.time_zone();
    Ok(Json(Final { schedule: schedule.name.clone(), time_zone, from, to, shifts, registry_lost }))
}

/// `GET /v1/oncall/schedules/{name}/calendar.ics`.
pub(super) async fn calendar(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let schedule = schedule(&context.rules, Some(&name))?;
    let entries = entries(&context, &[schedule], |_| true).await?;
    Ok(ics(&format!("On call: {name}"), &entries))
}

/// `GET /v1/oncall/people/{name}/calendar.ics`: the shifts of one person in all schedules.
pub(super) async fn calendar_of(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let rules = &context.rules;
    rules.check_person(&name).map_err(|refusal| Problem::not_found(refusal.to_string()))?;
    let all: Vec<&Schedule> = rules.schedules.iter().collect();
    let entries = entries(&context, &all, |person| person == name).await?;
    Ok(ics(&format!("On call: {name}"), &entries))
}

async fn entries(
    context: &Context,
    schedules: &[&Schedule],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Entry>, Problem> {
    let (changes, _) = changes(context).await?;
    let now = clock::now();
    let (from, to) = (now - CALENDAR.0, now + CALENDAR.1);
    let mut entries = Vec::new();
    for schedule in schedules {
        let changes = changes.get(&schedule.name).map_or(&[][..], Vec::as_slice);
        // A shift that was cut where the calendar begins would be another one each time it is fetched.
        let duties = schedule.duties(from - WHOLE, to + WHOLE, changes).into_iter();
        for duty in duties.filter(|duty| duty.to > from && duty.from < to) {
            let Some(person) = duty.person.filter(|person| wanted(person)) else { continue };
            let schedule = schedule.name.clone();
            entries.push(Entry { schedule, person, by: duty.by, from: duty.from, to: duty.to });
        }
    }
    entries.sort_by(|a, b| a.from.cmp(&b.from).then_with(|| a.schedule.cmp(&b.schedule)));
    Ok(entries)
}

fn ics(name: &str, entries: &[Entry]) -> Response {
    let text = oncall::calendar(name, entries, clock::now());
    ([(header::CONTENT_TYPE, "text/calendar; charset=utf-8")], text).into_response()
}

pub(super) fn instant(name: &str, text: &str) -> Result<Time, Problem> {
    let at: Time = text.parse().map_err(|error| {
        Problem::bad_request(format!(
            "{name} is {text:?}: {error}; write it as 2026-01-05T09:00:00Z (a + is %2B in a URL)"
        ))
    })?;
    if (YEAR_MIN..YEAR_MAX).contains(&at.year()) {
        return Ok(at);
    }
    let last = YEAR_MAX - 1;
    Err(Problem::bad_request(format!("{name} is {text}: give a year from {YEAR_MIN} to {last}")))
}

/// The one that is named; else the one pages use; else the only one.
pub(super) fn schedule<'a>(rules: &'a Rules, name: Option<&str>) -> Result<&'a Schedule, Problem> {
    let defined: Vec<_> = rules.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
    let asked = name.or(rules.pages.schedule.as_deref());
    let found = match (asked, &rules.schedules[..]) {
        (_, []) => None,
        (Some(name), schedules) => schedules.iter().find(|schedule| schedule.name == name),
        (None, [only]) => Some(only),
        (None, _) => {
            let names = defined.join(", ");
            return Err(Problem::bad_request(format!(
                "which schedule? give schedule=, one of {names}"
            )));
        }
    };
    found.ok_or_else(|| match asked {
        Some(name) if !defined.is_empty() => {
            Problem::not_found(undefined("schedule", name, &defined))
        }
        _ => Problem::not_found("nobody is ever on call: set alerting.schedules"),
    })
}
