//! `/oncall`: for each schedule who is on call, until when and who is next, and its final form for the next two weeks; what
//! people changed in it is in [`changes`].

use axum::{Router, extract::State, response::Html};
use chrono::{DateTime, Utc};
use serde_json::Value;
use watchkeep_alerting::wall_clock;

use super::{Site, changes, get};
use crate::http::{
    html::{self, Text, table},
    problem::Problem,
};

pub(super) async fn show(State(site): State<Site>) -> Result<Html<String>, Problem> {
    let alerting = site.alerting;
    let schedules: Value = get(alerting.clone(), "/v1/oncall/schedules").await?;
    let mut body = "<h1>On call</h1>".to_owned();
    let names = schedules["schedules"].as_array().into_iter().flatten();
    for name in names.filter_map(Value::as_str) {
        let now: Value = get(alerting.clone(), &format!("/v1/oncall?schedule={name}")).await?;
        let shifts: Value = get(alerting.clone(), &format!("/v1/oncall/schedules/{name}")).await?;
        body.push_str(&schedule(name, &now, &shifts));
        let zone = shifts["time_zone"].as_str().unwrap_or("UTC");
        body.push_str(&changes::part(alerting.clone(), name, zone, &shifts).await);
    }
    if schedules["schedules"].as_array().is_none_or(Vec::is_empty) {
        body.push_str("<p class=\"dim\">Nobody is ever on call: set alerting.schedules.</p>");
    }
    Ok(html::page("On call", false, &body))
}

/// Who is on call now, by each schedule, as a part of a page; nothing where another node has to be asked.
pub(super) async fn now(alerting: Option<Router>) -> String {
    if alerting.is_none() {
        return String::new();
    }
    let said = match everybody(alerting).await {
        Ok(lines) if lines.is_empty() => {
            "Nobody is ever on call: set alerting.schedules.".to_owned()
        }
        Ok(lines) => lines.join("<br>"),
        Err(problem) => Text(problem.message()).to_string(),
    };
    format!("<h2><a href=\"/oncall\">On call</a></h2><p>{said}</p>")
}

async fn everybody(alerting: Option<Router>) -> Result<Vec<String>, Problem> {
    let schedules: Value = get(alerting.clone(), "/v1/oncall/schedules").await?;
    let mut lines = Vec::new();
    for name in schedules["schedules"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let shift: Value = get(alerting.clone(), &format!("/v1/oncall?schedule={name}")).await?;
        let zone = shift["time_zone"].as_str().unwrap_or("UTC");
        lines.push(format!("{} ({}){}", person(&shift), Text(name), until(zone, &shift)));
    }
    Ok(lines)
}

/// Who it is.
fn person(shift: &Value) -> String {
    match shift["person"].as_str() {
        Some(person) => format!("<b>{}</b>", Text(person)),
        None => "<span class=\"critical\">nobody</span>".to_owned(),
    }
}

/// Until when, and who is next; and whether that is what was known last.
fn until(zone: &str, shift: &Value) -> String {
    let until = match (shift["until"].as_str(), shift["next_person"].as_str()) {
        (Some(until), Some(next)) => format!(" until {}, then {}", clock(zone, until), Text(next)),
        (Some(until), None) => format!(" until {}", clock(zone, until)),
        (None, _) => String::new(),
    };
    match shift["registry_lost"].as_bool() {
        Some(true) => format!("{until} (as it was known last: the registry does not answer)"),
        _ => until,
    }
}

fn schedule(name: &str, now: &Value, shifts: &Value) -> String {
    let text = |value: &Value| Text(value.as_str().unwrap_or_default()).to_string();
    let zone = shifts["time_zone"].as_str().unwrap_or("UTC");
    let (person, until) = (person(now), until(zone, now));
    let row = |shift: &Value| {
        let person = match shift["person"].as_str() {
            Some(person) => Text(person).to_string(),
            None => "<span class=\"dim\">nobody</span>".to_owned(),
        };
        let time = |field: &str| clock(zone, shift[field].as_str().unwrap_or_default());
        vec![time("from"), time("to"), person, text(&shift["by"])]
    };
    let rows: Vec<_> = shifts["shifts"].as_array().into_iter().flatten().map(row).collect();
    let name = Text(name);
    format!(
        "<h2>{name}</h2><p>Now {person}{until}. <a href=\"/v1/oncall/schedules/{name}/calendar.ics\">Calendar</a></p>{}",
        table(&["From", "To", "Who", "By"], &rows, "Nobody in the next two weeks.")
    )
}

/// `2026-01-05T09:00:00Z` as the clock shows it where the schedule is from; what UTC is then, in the tooltip.
pub(super) fn clock(zone: &str, instant: &str) -> String {
    let at: Option<DateTime<Utc>> = instant.parse().ok();
    let shown = |zone: &str| at.and_then(|at| wall_clock(zone, at));
    let utc = shown("UTC").unwrap_or_else(|| instant.to_owned());
    let own = shown(zone).unwrap_or_else(|| utc.clone());
    format!("<time datetime=\"{}\" title=\"{}\">{}</time>", Text(instant), Text(utc), Text(own))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_and_when() {
        let now =
            json!({"person": "alice", "until": "2026-01-05T09:00:00Z", "next_person": "<bob>"});
        let shifts = json!({"time_zone": "Europe/Berlin", "shifts": [
            {"person": "alice", "from": "2026-07-01T00:00:00Z", "to": "2026-01-05T09:00:00Z", "by": "layer 1"},
            {"person": null, "from": "2026-01-05T09:00:00Z", "to": "2026-01-06T09:00:00Z", "by": null},
        ]});
        let page = schedule("primary", &now, &shifts);
        assert!(page.contains(
            "<b>alice</b> until <time datetime=\"2026-01-05T09:00:00Z\" title=\"2026-01-05 09:00 UTC\">2026-01-05 10:00 CET"
        ));
        assert!(page.contains(">2026-07-01 02:00 CEST<"), "{page}");
        // What is no time is shown as it is.
        assert_eq!(clock("UTC", "<"), "<time datetime=\"&lt;\" title=\"&lt;\">&lt;</time>");
        assert!(page.contains("then &lt;bob&gt;") && page.contains("nobody</span>"), "{page}");
        assert!(schedule("x", &json!({}), &json!({})).contains("critical\">nobody"));
    }
}
