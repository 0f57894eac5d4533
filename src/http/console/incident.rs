//! `/incidents/{id}`: one incident with everything that happened, and a button for each thing that people do about it. The
//! buttons pass on to the API; no script.

use std::collections::BTreeMap;

use axum::{
    Form,
    extract::{Path, State},
    http::{Method, StatusCode},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::{Value, json};
use watchkeep_catalog::{Incident, IncidentStatus, Page, PageKind, check_name, keys};

use super::{Site, ask, incidents::runbook, is_link, time, word};
use crate::http::{
    html::{self, Text, table},
    problem::Problem,
};

pub(super) async fn show(
    State(site): State<Site>,
    Path(id): Path<String>,
) -> Result<Html<String>, Problem> {
    check_name("incident", &id)?;
    let found = site.client.get(&keys::incident(&id)).await?;
    let Some(kv) = found else {
        return Err(Problem::not_found(format!(
            "incident {id} does not exist: /incidents lists them"
        )));
    };
    let incident: Incident = kv.json()?;
    let status = word(&incident.status);
    let body = format!(
        "<p class=\"dim\"><span class=\"{status}\">{status}</span> &middot; {}</p><h1>{}</h1>{}{}{}{}{}",
        Text(&incident.severity),
        Text(&incident.title),
        description(&incident),
        if site.alerting.is_some() { actions(&incident) } else { String::new() },
        facts(&incident),
        timeline(&incident),
        pages(&incident.pages),
    );
    Ok(html::page(&incident.title, false, &body))
}

fn description(incident: &Incident) -> String {
    let text = incident.details.get("description");
    text.map_or_else(String::new, |text| format!("<p class=\"text\">{}</p>", Text(text)))
}

fn facts(incident: &Incident) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![format!("<b>{}</b>", Text(name)), value]);
        }
    };
    let text = |value: &Option<String>| Text(value.as_deref().unwrap_or_default()).to_string();
    row("Alert", runbook(incident));
    row("Began", time(incident.started_at));
    row("Opened", time(incident.opened_at));
    row("On call", text(&incident.on_call));
    row("Taken by", text(&incident.acknowledged_by));
    row("Snoozed until", incident.snoozed_until.map(time).unwrap_or_default());
    row("Given to", Text(incident.assigned.join(", ")).to_string());
    row("Responders", Text(incident.responders.join(", ")).to_string());
    row("Resolved", incident.resolved_at.map(time).unwrap_or_default());
    if let Some(escalation) = &incident.escalation {
        let due = escalation.due.filter(|_| incident.status == IncidentStatus::Triggered);
        let next = due.map_or("nobody is called next".to_owned(), |due| {
            let (step, round) = (escalation.step + 1, escalation.round + 1);
            format!("step {step} of round {round} at {}", time(due))
        });
        row("Escalation", format!("{}: {next}", Text(&escalation.policy)));
    }
    row("Failover", text(&incident.failover));
    for (name, value) in &incident.labels {
        row(name, Text(value).to_string());
    }
    for (name, value) in incident.details.iter().filter(|(name, _)| *name != "description") {
        let is_link = is_link(value);
        let value = Text(value).to_string();
        row(name, if is_link { format!("<a href=\"{value}\">{value}</a>") } else { value });
    }
    let id = Text(&incident.id);
    let report = format!(
        "<p><a href=\"/v1/incidents/{id}/report\">Draft of the post-mortem</a> &middot; \
         <a href=\"/v1/incidents/{id}\">JSON</a></p>"
    );
    format!("<h2>Facts</h2>{}{report}", table(&["", ""], &rows, ""))
}

fn timeline(incident: &Incident) -> String {
    let rows = incident
        .timeline
        .iter()
        .map(|note| vec![time(note.at), Text(&note.by).to_string(), Text(&note.text).to_string()]);
    let rows: Vec<_> = rows.collect();
    format!("<h2>Timeline</h2>{}", table(&["When", "Who", "What"], &rows, "Nothing yet."))
}

fn pages(pages: &[Page]) -> String {
    let row = |page: &Page| {
        let state = word(&page.state);
        vec![
            match page.kind {
                PageKind::Firing => "it began",
                PageKind::Resolved => "it is over",
            }
            .to_owned(),
            Text(format_args!("{} by {}", page.receiver, page.channel)).to_string(),
            format!("<span class=\"{state}\">{state}</span>"),
            page.finished_at.or(page.not_before).map(time).unwrap_or_default(),
            Text(page.error.as_deref().unwrap_or_default()).to_string(),
        ]
    };
    let rows: Vec<_> = pages.iter().map(row).collect();
    let head = ["Says", "To", "State", "When", "Error"];
    format!("<h2>Messages</h2>{}", table(&head, &rows, "None."))
}

/// One form: the name of whoever acts, the action's own fields, and buttons.
fn actions(incident: &Incident) -> String {
    let button = |action: &str, label: &str| {
        format!("<button name=\"action\" value=\"{action}\">{label}</button> ")
    };
    let mut buttons = String::new();
    match incident.status {
        IncidentStatus::Resolved => {}
        IncidentStatus::Triggered => buttons.push_str(&button("acknowledge", "Acknowledge")),
        IncidentStatus::Acknowledged => buttons.push_str(&button("unacknowledge", "Give back")),
    }
    let open = incident.status != IncidentStatus::Resolved;
    if open {
        buttons.push_str(&button("resolve", "Resolve"));
    }
    let field = |name: &str, label: &str, rest: &str| {
        format!("<label>{label} <input name=\"{name}\" {rest}></label> ")
    };
    let by = incident.acknowledged_by.as_ref().or(incident.on_call.as_ref());
    let by = Text(by.map_or("", String::as_str)).to_string();
    let mut form = format!(
        "<form class=\"actions\" method=\"post\" action=\"/incidents/{}\"><p>{}{buttons}</p>",
        Text(&incident.id),
        field("by", "Your name", &format!("value=\"{by}\" required maxlength=\"128\""))
    );
    if open {
        form.push_str(&format!(
            "<p>{}{}</p><p>{}{}{}</p>",
            field("minutes", "Minutes", "type=\"number\" min=\"1\" max=\"43200\" value=\"60\""),
            button("snooze", "Snooze"),
            field("to", "People, teams", "placeholder=\"bob, carol\" maxlength=\"1000\""),
            button("reassign", "Reassign"),
            button("add_responder", "Call for help")
        ));
    }
    form.push_str(&format!(
        "<p>{}{}</p></form>",
        field("text", "Note", "maxlength=\"4000\""),
        button("note", "Add")
    ));
    form
}

/// The buttons: passes the action on to the API and goes back to the page.
pub(super) async fn act(
    State(site): State<Site>,
    Path(id): Path<String>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    check_name("incident", &id)?;
    let Some(alerting) = site.alerting else {
        return Err(Problem::not_found(
            "role alerting does not run on this node: ask one where it does",
        ));
    };
    let body = body(&form).map_err(|text| Problem::new(StatusCode::BAD_REQUEST, text))?;
    let path = format!("/v1/incidents/{id}");
    let (status, answer) = ask(alerting, Method::POST, &path, Some(body)).await?;
    if status.is_success() {
        return Ok(Redirect::to(&format!("/incidents/{id}")).into_response());
    }
    Err(Problem::new(status, answer["error"].as_str().unwrap_or("refused")))
}

/// What the API takes for a form.
fn body(form: &BTreeMap<String, String>) -> Result<Value, String> {
    let field = |name: &str| form.get(name).map_or("", |text| text.trim());
    let (action, by) = (field("action"), field("by"));
    let people = || -> Vec<&str> {
        field("to").split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    };
    let mut body = json!({"action": action, "by": by});
    match action {
        "acknowledge" | "unacknowledge" | "resolve" => {}
        "note" => body["text"] = json!(field("text")),
        "reassign" | "add_responder" => body["to"] = json!(people()),
        "snooze" => {
            let minutes: i64 = field("minutes")
                .parse()
                .map_err(|_| format!("minutes: {:?} is not a number", field("minutes")))?;
            body["seconds"] = json!(minutes.saturating_mul(60));
        }
        other => return Err(format!("action {other:?} is not known")),
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_the_api_takes() {
        let form = |action: &str| -> BTreeMap<String, String> {
            let fields =
                [("action", action), ("by", " alice "), ("to", "bob, ,carol"), ("minutes", "5")];
            fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        for (action, expected) in [
            ("acknowledge", json!({"action": "acknowledge", "by": "alice"})),
            ("snooze", json!({"action": "snooze", "by": "alice", "seconds": 300})),
            ("reassign", json!({"action": "reassign", "by": "alice", "to": ["bob", "carol"]})),
            ("note", json!({"action": "note", "by": "alice", "text": ""})),
        ] {
            assert_eq!(body(&form(action)), Ok(expected));
        }
        assert!(body(&form("explode")).is_err());
        assert!(body(&[("action".to_owned(), "snooze".to_owned())].into()).is_err());
    }
}
