//! What people change in a schedule, on `/oncall`: which changes there are, with a button to take each back, and a form for an
//! override. The times of the form are of the schedule's wall clock. Both pass on to the API; no script.

use std::collections::BTreeSet;

use axum::{
    Form, Router,
    extract::{Path, State},
    http::Method,
    response::{IntoResponse, Redirect, Response},
};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use watchkeep_alerting::wall_instant;
use watchkeep_catalog::{ChangeKind, ScheduleChange, check_name};

use super::{Site, ask, duty::clock, get};
use crate::http::{
    html::{Text, table},
    problem::Problem,
};

#[derive(Deserialize)]
struct Known {
    changes: Vec<ScheduleChange>,
}

/// Of a schedule: the changes that are not over, and the form. `shifts` are those of the final schedule.
pub(super) async fn part(
    alerting: Option<Router>,
    name: &str,
    zone: &str,
    shifts: &Value,
) -> String {
    let path = format!("/v1/oncall/schedules/{name}/changes");
    let known: Result<Known, Problem> = get(alerting, &path).await;
    let list = match known {
        Ok(Known { changes }) => list(name, zone, &changes),
        // Who is on call is known without the registry; who changed it is not.
        Err(problem) => {
            format!("<p class=\"dim\">Changes are not known: {}</p>", Text(problem.message()))
        }
    };
    format!("{list}{}", form(name, zone, shifts))
}

fn list(name: &str, zone: &str, changes: &[ScheduleChange]) -> String {
    let now = Utc::now();
    let row = |change: &ScheduleChange| {
        let (id, time) =
            (Text(&change.id), |at: chrono::DateTime<Utc>| clock(zone, &at.to_rfc3339()));
        vec![
            time(change.from),
            time(change.to),
            Text(words(&change.change)).to_string(),
            Text(&change.by).to_string(),
            Text(&change.comment).to_string(),
            format!(
                "<form method=\"post\" action=\"/oncall/{}/changes/{id}/remove\"><button>Take back</button></form>",
                Text(name)
            ),
        ]
    };
    let rows: Vec<_> = changes.iter().filter(|change| change.end() > now).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["From", "To", "Change", "By", "Comment", ""];
    format!("<h3>Changes</h3>{}", table(&head, &rows, ""))
}

fn words(change: &ChangeKind) -> String {
    match change {
        ChangeKind::Override { person } => format!("{person} is on call"),
        ChangeKind::Swap { giver, taker: None, .. } => format!("{giver} offers shifts"),
        ChangeKind::Swap { giver, taker: Some(taker), .. } => {
            format!("{taker} takes {giver}'s shifts")
        }
        ChangeKind::Temporary { shifts } => format!("{} temporary shifts", shifts.len()),
    }
}

fn form(name: &str, zone: &str, shifts: &Value) -> String {
    let people = shifts["shifts"].as_array().into_iter().flatten();
    let people: BTreeSet<&str> = people.filter_map(|shift| shift["person"].as_str()).collect();
    let options: String =
        people.iter().map(|person| format!("<option value=\"{}\">", Text(person))).collect();
    let (name, zone) = (Text(name).to_string(), Text(zone).to_string());
    let field = |field: &str, label: &str, rest: &str| {
        format!("<label>{label} <input name=\"{field}\" {rest}></label> ")
    };
    format!(
        "<details><summary>Somebody else is on call for a while</summary>\
         <form class=\"actions\" method=\"post\" action=\"/oncall/{name}/changes\"><p>{}{}{}</p><p>{}{}<button>Override</button></p>\
         <datalist id=\"people-{name}\">{options}</datalist></form></details>",
        field("person", "Who", &format!("list=\"people-{name}\" required maxlength=\"128\"")),
        field("from", &format!("From ({zone})"), "type=\"datetime-local\" required"),
        field("to", "To", "type=\"datetime-local\" required"),
        field("by", "Your name", "required maxlength=\"128\""),
        field("comment", "Why", "maxlength=\"1000\""),
    )
}

/// The form's fields.
#[derive(Deserialize)]
pub(super) struct Override {
    person: String,
    from: String,
    to: String,
    by: String,
    #[serde(default)]
    comment: String,
}

/// The form: passes the override on to the API and goes back to the page.
pub(super) async fn create(
    State(site): State<Site>,
    Path(name): Path<String>,
    Form(form): Form<Override>,
) -> Result<Response, Problem> {
    check_name("schedule", &name)?;
    let path = format!("/v1/oncall/schedules/{name}");
    let schedule: Value = get(site.alerting.clone(), &path).await?;
    let zone = schedule["time_zone"].as_str().unwrap_or("UTC");
    let time = |field: &str, text: &str| {
        wall_instant(zone, text).ok_or_else(|| {
            Problem::bad_request(format!(
                "{field} is {text:?}: write it as the clock of {zone} shows it, such as 2026-01-05T09:00"
            ))
        })
    };
    let body = json!({
        "kind": "override", "person": form.person.trim(), "by": form.by.trim(),
        "from": time("from", &form.from)?, "to": time("to", &form.to)?, "comment": form.comment.trim(),
    });
    pass(site, Method::POST, &format!("{path}/changes"), Some(body)).await
}

/// The button: takes a change back.
pub(super) async fn remove(
    State(site): State<Site>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    check_name("schedule", &name)?;
    check_name("change", &id)?;
    let path = format!("/v1/oncall/schedules/{name}/changes/{id}");
    pass(site, Method::DELETE, &path, None).await
}

async fn pass(
    site: Site,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Response, Problem> {
    let Some(alerting) = site.alerting else {
        return Err(Problem::not_found(
            "role alerting does not run on this node: ask one where it does",
        ));
    };
    let (status, answer) = ask(alerting, method, path, body).await?;
    if status.is_success() {
        return Ok(Redirect::to("/oncall").into_response());
    }
    Err(Problem::new(status, answer["error"].as_str().unwrap_or("refused")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_are_over_are_not_shown_and_names_are_escaped() {
        let change = |id: &str, to: &str| {
            serde_json::from_value(json!({
                "id": id, "schedule": "primary", "from": "2026-01-05T09:00:00Z", "to": to,
                "kind": "override", "person": "<bob>", "by": "alice", "comment": "a & b",
                "decided_at": "2026-01-05T09:00:00Z",
            }))
            .expect("a change")
        };
        let known =
            [change("past", "2026-01-05T10:00:00Z"), change("next", "2098-01-05T10:00:00Z")];
        let html = list("primary", "Europe/Berlin", &known);
        assert!(html.contains("/oncall/primary/changes/next/remove") && !html.contains("/past/"));
        assert!(html.contains("&lt;bob&gt; is on call") && html.contains("a &amp; b"), "{html}");
        assert!(html.contains("2026-01-05 10:00 CET"), "{html}");
        assert_eq!(list("primary", "UTC", &known[..1]), "");
        let form = form(
            "primary",
            "Europe/Berlin",
            &json!({"shifts": [{"person": "a\"b"}, {"person": null}]}),
        );
        assert!(
            form.contains("From (Europe/Berlin)") && form.contains("value=\"a&quot;b\""),
            "{form}"
        );
    }
}
