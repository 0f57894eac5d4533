//! `GET /v1/oncall[?at=RFC3339][&schedule=name]`: who is on call, since and until when, and who is next.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use chrono::Datelike;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::Problem;
use crate::{
    clock,
    config::undefined,
    context::Context,
    oncall::{Rotation, Shift, YEAR_MAX, YEAR_MIN},
    rules::Rules,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    at: Option<String>,
    schedule: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OnCall {
    schedule: String,
    #[serde(flatten)]
    shift: Shift,
    email: Option<String>,
}

pub(super) async fn who(
    State(context): State<Arc<Context>>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<OnCall>, Problem> {
    let Query(question) = question.map_err(|e| Problem::bad_request(e.body_text()))?;
    let at = question.at.as_deref().map_or_else(|| Ok(clock::now()), instant)?;
    let rules = &context.rules;
    let rotation = rotation(rules, question.schedule.as_deref())?;
    let shift = rotation.who(at);
    let email = rules.contacts.get(&shift.person).and_then(|contact| contact.email.clone());
    Ok(Json(OnCall { schedule: rotation.name.clone(), shift, email }))
}

fn instant(text: &str) -> Result<Time, Problem> {
    let at: Time = text.parse().map_err(|error| {
        Problem::bad_request(format!(
            "at is {text:?}: {error}; write it as 2026-01-05T09:00:00Z (a + is %2B in a URL)"
        ))
    })?;
    if (YEAR_MIN..YEAR_MAX).contains(&at.year()) {
        return Ok(at);
    }
    let last = YEAR_MAX - 1;
    Err(Problem::bad_request(format!("at is {text}: give a year from {YEAR_MIN} to {last}")))
}

/// The one that is named; else the one pages use; else the only one.
fn rotation<'a>(rules: &'a Rules, name: Option<&str>) -> Result<&'a Rotation, Problem> {
    let defined: Vec<_> = rules.rotations.iter().map(|rotation| rotation.name.as_str()).collect();
    let asked = name.or(rules.pages.schedule.as_deref());
    let found = match (asked, &rules.rotations[..]) {
        (_, []) => None,
        (Some(name), rotations) => rotations.iter().find(|rotation| rotation.name == name),
        (None, [only]) => Some(only),
        (None, _) => {
            let names = defined.join(", ");
            return Err(Problem::bad_request(format!(
                "which schedule? give schedule=, one of {names}"
            )));
        }
    };
    found.ok_or_else(|| match asked {
        Some(name) => Problem::not_found(undefined("schedule", name, &defined)),
        None => Problem::not_found("nobody is ever on call: set alerting.schedules"),
    })
}
