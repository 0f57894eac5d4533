//! `/failovers`: whether they are stopped, with a button for that, which policies there are, and what was decided. The buttons
//! pass on to the API; no script.

use std::collections::BTreeMap;

use axum::{
    Form,
    extract::State,
    http::Method,
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{Failover, FailoverState, FailoverStop};

use super::{Site, ask, get, time, word};
use crate::http::{
    asked::Query,
    html::{self, Text, table},
    problem::Problem,
};

/// Rows of a page.
const ROWS: usize = 50;
/// Rows on a service's page.
const OF_SERVICE: usize = 10;
const HEAD: [&str; 6] = ["Decided", "Policy", "About", "State", "Outcome", "Incident"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    state: String,
    before: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    failovers: Vec<Value>,
    next: Option<i64>,
}

/// The record, without what the API puts beside it.
pub(super) fn record(mut shown: Value) -> Option<Failover> {
    shown.as_object_mut()?.remove("fencing_token");
    serde_json::from_value(shown).ok()
}

/// `/failovers`.
pub(super) async fn show(
    State(site): State<Site>,
    Query(filter): Query<Filter>,
) -> Result<Html<String>, Problem> {
    let path = format!("/v1/failovers?limit={ROWS}&{}", query(&filter.state, filter.before));
    let alerting = site.alerting;
    let answer: Answer = get(alerting.clone(), &path).await?;
    let switch: Value = get(alerting.clone(), "/v1/failover-stop").await?;
    let policies: Value = get(alerting, "/v1/failover-policies").await?;
    let older = answer.next.map_or_else(String::new, |next| {
        let query = Text(query(&filter.state, Some(next))).to_string();
        format!("<p><a href=\"/failovers?{query}\">Older ones</a></p>")
    });
    let states = [""].into_iter().chain(FailoverState::ALL.map(FailoverState::as_str));
    let filters: String = states
        .map(|state| {
            let words = if state.is_empty() { "all".to_owned() } else { state.replace('_', " ") };
            match state == filter.state {
                true => format!("<b>{words}</b> "),
                false => format!("<a href=\"/failovers?{}\">{words}</a> ", query(state, None)),
            }
        })
        .collect();
    let body = format!(
        "<h1>Failovers</h1>{}<h2>Policies</h2>{}<h2>What was decided</h2><p>{filters}</p>{}{older}",
        lever(&switch),
        all_policies(&policies),
        rows(answer.failovers)
    );
    Ok(html::page("Failovers", false, &body))
}

/// The parameters that are not left out.
fn query(state: &str, before: Option<i64>) -> String {
    let mut query = Serializer::new(String::new());
    if !state.is_empty() {
        query.append_pair("state", state);
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    query.finish()
}

fn rows(shown: Vec<Value>) -> String {
    let rows: Vec<_> =
        shown.into_iter().filter_map(record).map(|failover| row(&failover)).collect();
    table(&HEAD, &rows, "None.")
}

pub(super) fn row(failover: &Failover) -> Vec<String> {
    let state = word(&failover.state);
    let outcome = match failover.outcome.as_str() {
        "" => &failover.reason,
        outcome => outcome,
    };
    let incident = Text(&failover.incident).to_string();
    vec![
        format!("<a href=\"/failovers/{}\">{}</a>", Text(&failover.id), time(failover.decided_at)),
        Text(&failover.policy).to_string(),
        Text(failover.about()).to_string(),
        format!(
            "<span class=\"{state}\">{}</span>{}",
            state.replace('_', " "),
            if failover.rehearsal { " (rehearsal)" } else { "" }
        ),
        Text(outcome).to_string(),
        match incident.is_empty() {
            true => String::new(),
            false => format!("<a href=\"/incidents/{incident}\">incident</a>"),
        },
    ]
}

/// The latest, on the console's first page.
pub(super) fn recent(failovers: &[Failover], max: usize) -> String {
    let rows: Vec<_> = failovers.iter().take(max).map(row).collect();
    format!(
        "<h2>Recent failovers</h2>{}<p><a href=\"/failovers\">All failovers, and the kill switch</a></p>",
        table(&HEAD, &rows, "None.")
    )
}

/// The latest of a service, on its page.
pub(super) async fn of_service(site: &Site, service: &str) -> Result<String, Problem> {
    let path = format!("/v1/failovers?limit={OF_SERVICE}&service={service}");
    let answer: Answer = get(site.alerting.clone(), &path).await?;
    Ok(format!("<h2>Failovers</h2>{}", rows(answer.failovers)))
}

/// Who has stopped all failovers, for every page to say.
pub(super) fn stopped(stop: &FailoverStop) -> String {
    let reason = match stop.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", Text(reason)),
    };
    format!(
        "<p class=\"critical\"><a href=\"/failovers\">Failovers</a> are stopped by {} since {}{reason}</p>",
        Text(&stop.by),
        time(stop.since)
    )
}

/// The kill switch with the button that turns it.
fn lever(switch: &Value) -> String {
    if switch["enabled"] == false {
        return "<p class=\"critical\">They are switched off here: alerting.failover_enabled is false.</p>"
            .to_owned();
    }
    if switch["stopped"] != true {
        return "<p>They happen, as their policies say.</p>\
                <form class=\"actions\" method=\"post\" action=\"/failovers/stop\">\
                <label>Your name <input name=\"by\" required maxlength=\"128\"></label> \
                <label>Why <input name=\"reason\" maxlength=\"300\"></label> \
                <button>Stop all failovers</button></form>"
            .to_owned();
    }
    let text = |field: &str| switch[field].as_str().unwrap_or_default();
    let stop = FailoverStop {
        since: text("since").parse().unwrap_or_default(),
        by: text("by").to_owned(),
        reason: text("reason").to_owned(),
    };
    format!(
        "{}<form class=\"actions\" method=\"post\" action=\"/failovers/resume\"><button>Let them happen again</button></form>",
        stopped(&stop)
    )
}

fn all_policies(answer: &Value) -> String {
    let all = answer["policies"].as_array().into_iter().flatten();
    let text = |value: &Value| Text(value.as_str().unwrap_or_default()).to_string();
    let row = |policy: &Value| {
        let steps = policy["steps"].as_array().into_iter().flatten();
        let kinds: Vec<_> = steps.filter_map(kind).collect();
        let steps = if kinds.is_empty() { "callback".to_owned() } else { kinds.join(", ") };
        vec![
            text(&policy["name"]),
            text(&policy["effective_mode"]),
            Text(pairs(&policy["when"])).to_string(),
            Text(pairs(&policy["guards"])).to_string(),
            Text(steps).to_string(),
        ]
    };
    let rows: Vec<_> = all.map(row).collect();
    let nothing = "None: nothing is failed over. alerting.failover has them.";
    table(&["Policy", "Mode", "When", "Guards", "Steps"], &rows, nothing)
}

/// What a step does: the field that says so.
fn kind(step: &Value) -> Option<String> {
    let mut fields = step.as_object()?.keys();
    fields.find(|field| !matches!(field.as_str(), "name" | "on_failure")).cloned()
}

/// `service db, role primary`.
fn pairs(fields: &Value) -> String {
    let said = fields.as_object().into_iter().flatten().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    said.collect::<Vec<_>>().join(", ")
}

/// Turns the kill switch.
pub(super) async fn stop(
    State(site): State<Site>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let field = |name: &str| form.get(name).map_or("", |text| text.trim());
    let body = json!({"by": field("by"), "reason": field("reason")});
    pass_on(&site, Method::PUT, "/v1/failover-stop", Some(body)).await?;
    Ok(Redirect::to("/failovers").into_response())
}

/// Turns it back.
pub(super) async fn resume(State(site): State<Site>) -> Result<Response, Problem> {
    pass_on(&site, Method::DELETE, "/v1/failover-stop", None).await?;
    Ok(Redirect::to("/failovers").into_response())
}

/// A call of the API that changes something.
pub(super) async fn pass_on(
    site: &Site,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(), Problem> {
    let Some(alerting) = site.alerting.clone() else {
        return Err(Problem::not_found(
            "role alerting does not run on this node: ask one where it does",
        ));
    };
    let (status, answer) = ask(alerting, method, path, body).await?;
    if status.is_success() {
        return Ok(());
    }
    Err(Problem::new(status, answer["error"].as_str().unwrap_or("refused")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lever_says_where_it_stands() {
        assert!(lever(&json!({"stopped": false, "enabled": true})).contains("/failovers/stop"));
        let stopped = json!({"stopped": true, "enabled": true, "by": "<a>", "since": "2026-01-05T09:00:00Z",
            "reason": "a migration"});
        let said = lever(&stopped);
        assert!(
            said.contains("/failovers/resume") && said.contains("by &lt;a&gt; since"),
            "{said}"
        );
        assert!(said.contains(": a migration"), "{said}");
        assert!(lever(&json!({"stopped": false, "enabled": false})).contains("failover_enabled"));
    }

    #[test]
    fn policies_in_a_line_each() {
        let said = all_policies(&json!({"policies": [
            {"name": "db", "effective_mode": "approve", "when": {"service": "db", "role": "primary"},
             "guards": {"quorum": 2}, "steps": [{"name": "x", "callback": {}}, {"on_failure": "page", "promote": {}}]},
            {"name": "web", "effective_mode": "automatic", "when": {"service": "web"}, "guards": {}, "callback": {}},
        ]}));
        assert!(said.contains("role primary, service db") && said.contains("quorum 2"), "{said}");
        assert!(said.contains("callback, promote") && said.contains("<td>callback</td>"), "{said}");
    }
}
