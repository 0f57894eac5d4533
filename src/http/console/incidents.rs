//! `/incidents`: all incidents, the latest first, a page at a time; and the rows in which the console shows those that count
//! now.

use axum::{extract::State, response::Html};
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{Incident, IncidentStatus};

use super::{PAST_MAX, Site, get, is_link, time, word};
use crate::http::{
    asked::Query,
    html::{self, Text, table},
    problem::Problem,
    runbooks,
};

/// Rows of a page.
const ROWS: &str = "50";
/// Open incidents on the console's first page.
const OPEN_MAX: usize = 50;
const HEAD: [&str; 6] = ["Status", "Severity", "Incident", "Runbook", "Since", "Taken by"];
/// What may be asked for, and its words.
const FILTERS: [(&str, &str); 4] = [
    ("", "All"),
    ("triggered", "Triggered"),
    ("acknowledged", "Acknowledged"),
    ("resolved", "Resolved"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    status: String,
    before: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    incidents: Vec<Incident>,
    next: Option<i64>,
}

/// Asks the API, so that both show the same.
pub(super) async fn show(
    State(site): State<Site>,
    Query(filter): Query<Filter>,
) -> Result<Html<String>, Problem> {
    let path = format!("/v1/incidents?limit={ROWS}&{}", query(&filter.status, filter.before));
    let answer: Answer = get(site.alerting, &path).await?;
    let rows: Vec<_> = answer.incidents.iter().map(row).collect();
    let filters = FILTERS.map(|(status, words)| match status == filter.status {
        true => format!("<b>{words}</b> "),
        false => format!("<a href=\"/incidents?{}\">{words}</a> ", query(status, None)),
    });
    let older = answer.next.map_or_else(String::new, |next| {
        let query = Text(query(&filter.status, Some(next))).to_string();
        format!("<p><a href=\"/incidents?{query}\">Older ones</a></p>")
    });
    let body = format!(
        "<h1>Incidents</h1><p>{}</p>{}{older}",
        filters.concat(),
        table(&HEAD, &rows, "None.")
    );
    Ok(html::page("Incidents", false, &body))
}

/// The parameters that are not left out.
fn query(status: &str, before: Option<i64>) -> String {
    let mut query = Serializer::new(String::new());
    if !status.is_empty() {
        query.append_pair("status", status);
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    query.finish()
}

/// Those that are open, and the last ones that were; the latest first, as `incidents` are.
pub(super) fn of_now(incidents: &[Incident]) -> String {
    let (past, open): (Vec<&Incident>, Vec<&Incident>) =
        incidents.iter().partition(|incident| incident.status == IncidentStatus::Resolved);
    let more = match open.len().saturating_sub(OPEN_MAX) {
        0 => String::new(),
        more => format!("<b class=\"critical\">{more} more are open.</b> "),
    };
    let shown = open.into_iter().take(OPEN_MAX).chain(past.into_iter().take(PAST_MAX));
    let rows: Vec<_> = shown.map(row).collect();
    format!(
        "<h2>Incidents</h2>{}<p>{more}<a href=\"/incidents\">All incidents</a></p>",
        table(&HEAD, &rows, "None.")
    )
}

/// What the runbook's commands may name, so that they can be pasted as they are.
fn names(incident: &Incident) -> String {
    let mut names = Serializer::new(String::new());
    names.append_pair("INCIDENT", &incident.id);
    for (label, variable) in [("service", "SERVICE"), ("instance", "INSTANCE")] {
        if let Some(value) = incident.labels.get(label) {
            names.append_pair(variable, value);
        }
    }
    names.finish()
}

/// The alert's name, as a link to its runbook where there is one: the one that it names, or one of ours.
pub(super) fn runbook(incident: &Incident) -> String {
    let alert = Text(&incident.alert);
    let own = incident.details.get("runbook_url").filter(|url| is_link(url));
    match own {
        _ if runbooks::is_there(&incident.alert) => {
            format!("<a href=\"/runbooks/{alert}?{}\">{alert}</a>", Text(names(incident)))
        }
        Some(url) => format!("<a href=\"{}\">{alert}</a>", Text(url)),
        None => alert.to_string(),
    }
}

fn row(incident: &Incident) -> Vec<String> {
    let status = word(&incident.status);
    let id = Text(&incident.id);
    let action = match incident.status {
        // The name is filled in, since the page loads itself again before one is typed.
        IncidentStatus::Triggered => format!(
            "<form method=\"post\" action=\"/incidents/{id}/acknowledge\">\
             <input name=\"by\" value=\"{}\" placeholder=\"your name\" required maxlength=\"128\" \
             aria-label=\"your name\"> <button>Acknowledge</button></form>",
            Text(incident.on_call.as_deref().unwrap_or_default())
        ),
        IncidentStatus::Acknowledged | IncidentStatus::Resolved => {
            Text(incident.acknowledged_by.as_deref().unwrap_or_default()).to_string()
        }
    };
    vec![
        format!("<span class=\"{status}\">{status}</span>"),
        Text(&incident.severity).to_string(),
        format!("<a href=\"/incidents/{id}\">{}</a>", Text(&incident.title)),
        runbook(incident),
        time(incident.started_at),
        action,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn incident(number: usize, status: &str) -> Incident {
        let at = "2026-01-05T09:00:00Z";
        serde_json::from_value(json!({
            "id": format!("i-{number}"), "alert": "Down", "title": format!("no. {number} <b>"),
            "severity": "critical", "labels": {}, "status": status, "started_at": at,
            "opened_at": at, "pages": [],
        }))
        .expect("an incident")
    }

    #[test]
    fn open_ones_come_first_and_what_is_left_out_is_said() {
        let mut known: Vec<_> = (0..20).map(|number| incident(number, "resolved")).collect();
        known.extend((20..75).map(|number| incident(number, "triggered")));
        let html = of_now(&known);
        assert_eq!(html.matches("<tr>").count(), 1 + OPEN_MAX + PAST_MAX);
        assert!(html.contains("5 more are open.") && html.contains("href=\"/incidents\""));
        assert!(html.find("no. 20 ").expect("open") < html.find("no. 0 ").expect("resolved"));
        assert!(html.contains("no. 20 &lt;b&gt;") && !html.contains("no. 70 "), "{html}");
        assert!(!of_now(&known[..20]).contains("more are open"));
    }

    #[test]
    fn a_query_has_what_is_asked_for() {
        assert_eq!(query("", None), "");
        assert_eq!(query("resolved", Some(7)), "status=resolved&before=7");
    }
}
