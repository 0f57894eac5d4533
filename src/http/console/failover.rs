//! `/failovers/{id}`: a failover with guards, steps and attempts, and the buttons that confirm or end it. The buttons pass on to
//! the API; no script.

use std::collections::BTreeMap;

use axum::{
    Form,
    extract::{Path, State},
    http::{Method, StatusCode},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::{Value, json};
use watchkeep_catalog::{Failover, FailoverState, FailoverStep, GuardResult, check_name};

use super::{
    Site,
    failovers::{pass_on, record},
    get, time, word,
};
use crate::http::{
    html::{self, Text, table},
    problem::Problem,
};

/// `/failovers/{id}`.
pub(super) async fn show(
    State(site): State<Site>,
    Path(id): Path<String>,
) -> Result<Html<String>, Problem> {
    check_name("failover", &id)?;
    let shown: Value = get(site.alerting, &format!("/v1/failovers/{id}")).await?;
    let token = shown["fencing_token"].to_string();
    let Some(failover) = record(shown) else {
        let said = format!("failover {id} cannot be read by this version: /v1/failovers/{id}");
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, said));
    };
    let state = word(&failover.state);
    let body = format!(
        "<p class=\"dim\"><span class=\"{state}\">{}</span>{}</p><h1>Failover {} of {}</h1>{}\
         <h2>Facts</h2>{}<p><a href=\"/v1/failovers/{id}\">JSON</a></p>\
         <h2>Guards</h2>{}<h2>Steps</h2>{}",
        state.replace('_', " "),
        if failover.rehearsal { " &middot; rehearsal" } else { "" },
        Text(&failover.policy),
        Text(failover.about()),
        buttons(&failover),
        facts(&failover, &token),
        guards(&failover),
        steps(&failover),
        id = Text(&failover.id),
    );
    let title = format!("Failover {} of {}", failover.policy, failover.about());
    Ok(html::page(&title, false, &body))
}

fn buttons(failover: &Failover) -> String {
    if failover.state.is_over() {
        return String::new();
    }
    let confirm = match failover.state {
        FailoverState::AwaitingApproval => {
            "<button name=\"action\" value=\"approve\">Confirm: act now</button> "
        }
        _ => "",
    };
    format!(
        "<form class=\"actions\" method=\"post\" action=\"/failovers/{}\">\
         <label>Your name <input name=\"by\" required maxlength=\"128\"></label> {confirm}\
         <button name=\"action\" value=\"abort\">End it before its next effect</button></form>",
        Text(&failover.id)
    )
}

fn facts(failover: &Failover, token: &str) -> String {
    let text = |value: &Option<String>| Text(value.as_deref().unwrap_or_default()).to_string();
    let link = |to: &str, name: &str| match name {
        "" => String::new(),
        name => format!("<a href=\"/{to}/{0}\">{0}</a>", Text(name)),
    };
    let facts = [
        ("Mode", failover.mode.as_str().to_owned()),
        ("Service", link("services", &failover.service)),
        ("Reason", Text(&failover.reason).to_string()),
        ("Outcome", Text(&failover.outcome).to_string()),
        ("Incident", link("incidents", &failover.incident)),
        ("Decided", time(failover.decided_at)),
        ("Can be confirmed until", failover.expires_at.map(time).unwrap_or_default()),
        ("Began", failover.started_at.map(time).unwrap_or_default()),
        ("Over", failover.finished_at.map(time).unwrap_or_default()),
        ("Candidate", text(&failover.candidate)),
        ("Candidates that were of no use", Text(failover.tried.join(", ")).to_string()),
        ("Confirmed by", text(&failover.approved_by)),
        ("Ended by", text(&failover.aborted_by)),
        ("Fencing token", Text(token).to_string()),
    ];
    let rows: Vec<_> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| vec![format!("<b>{name}</b>"), value])
        .collect();
    table(&["", ""], &rows, "")
}

fn guards(failover: &Failover) -> String {
    let row = |guard: &GuardResult| {
        let says = match guard.held {
            true => "<span class=\"critical\">held</span>",
            false => "<span class=\"passing\">pass</span>",
        };
        vec![Text(&guard.guard).to_string(), says.to_owned(), Text(&guard.why).to_string()]
    };
    let rows: Vec<_> = failover.guards.iter().map(row).collect();
    table(&["Guard", "Says", "Why"], &rows, "None was asked.")
}

fn steps(failover: &Failover) -> String {
    let mut rows = Vec::new();
    for (at, step) in failover.steps.iter().enumerate() {
        rows.push(step_row(step));
        let attempts = failover.attempts.iter();
        let attempts = attempts.filter(|a| usize::try_from(a.step).ok() == Some(at)).enumerate();
        rows.extend(attempts.map(|(number, attempt)| {
            let status = attempt.status.map(|status| status.to_string()).unwrap_or_default();
            vec![
                format!("<span class=\"dim\">attempt {}</span>", number + 1),
                String::new(),
                time(attempt.at),
                format!("{:.0} ms", attempt.duration_ms),
                Text(attempt.error.as_ref().unwrap_or(&status)).to_string(),
            ]
        }));
    }
    table(&["Step", "State", "Began", "Took", "What"], &rows, "It has done nothing yet.")
}

fn step_row(step: &FailoverStep) -> Vec<String> {
    let state = word(&step.state);
    let took = step.started_at.zip(step.finished_at).map(|(from, to)| to - from);
    vec![
        Text(&step.name).to_string(),
        format!("<span class=\"{state}\">{state}</span>"),
        step.started_at.map(time).unwrap_or_default(),
        took.map(|took| format!("{} ms", took.num_milliseconds())).unwrap_or_default(),
        Text(&step.detail).to_string(),
    ]
}

/// The buttons of one failover.
pub(super) async fn act(
    State(site): State<Site>,
    Path(id): Path<String>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    check_name("failover", &id)?;
    let field = |name: &str| form.get(name).map_or("", |text| text.trim());
    let action = match field("action") {
        action @ ("approve" | "abort") => action,
        other => {
            let said = format!("action is {other:?}: give approve or abort");
            return Err(Problem::bad_request(said));
        }
    };
    let path = format!("/v1/failovers/{id}/{action}");
    pass_on(&site, Method::POST, &path, Some(json!({"by": field("by")}))).await?;
    Ok(Redirect::to(&format!("/failovers/{id}")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failover(state: &str) -> Failover {
        let mut shown = json!({
            "id": "i.db", "policy": "db", "service": "db", "instance": "one", "reason": "<refused>",
            "decided_at": "2026-01-05T09:00:00Z", "state": state, "incident": "i", "fencing_token": 7,
            "mode": "approve", "guards": [{"guard": "quorum", "held": true, "why": "1 of 2"}],
            "steps": [{"name": "call", "kind": "callback", "state": "failed", "detail": "gave up"}],
        });
        shown["attempts"] =
            json!([{"at": "2026-01-05T09:00:00Z", "duration_ms": 1.5, "error": "e"}]);
        record(shown).expect("a record")
    }

    #[test]
    fn only_what_waits_can_be_confirmed() {
        let asks = |state: &str| {
            let html = buttons(&failover(state));
            (html.contains("value=\"approve\""), html.contains("value=\"abort\""))
        };
        assert_eq!(asks("awaiting_approval"), (true, true));
        assert_eq!(asks("pending"), (false, true));
        assert_eq!(asks("delivered"), (false, false));
    }

    #[test]
    fn what_a_journal_says_is_no_markup_and_whole() {
        let failover = failover("awaiting_approval");
        let row = super::super::failovers::row(&failover).join(" ");
        assert!(row.contains("&lt;refused&gt;") && row.contains("awaiting approval"), "{row}");
        assert!(row.contains("/failovers/i.db") && row.contains("/incidents/i"), "{row}");
        let said = steps(&failover);
        assert!(said.contains("gave up") && said.contains("attempt 1") && said.contains("2 ms"));
        assert!(guards(&failover).contains("1 of 2"));
        assert!(facts(&failover, "7").contains("<b>Fencing token</b></td><td>7"));
    }
}
