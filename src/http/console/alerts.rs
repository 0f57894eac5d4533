//! `/alerts`: what fires, group by group as receivers are told of it, and the silences, with a button to begin one and to end
//! one. The buttons pass on to Alertmanager's API; no script.

use axum::{
    Form, Router,
    extract::{Path, State},
    http::{Method, StatusCode},
    response::{Html, IntoResponse, Redirect, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use watchkeep_catalog::check_name;

use super::{Site, ask, is_link};
use crate::http::{
    html::{self, Text, table},
    problem::Problem,
};

/// Alerts on one page.
const ALERTS_MAX: usize = 500;
/// Longest silence.
const HOURS_MAX: i64 = 90 * 24;

pub(super) async fn show(State(site): State<Site>) -> Result<Html<String>, Problem> {
    let alerting = alerting(&site)?;
    let (status, groups) =
        ask(alerting.clone(), Method::GET, "/api/v2/alerts/groups", None).await?;
    if status == StatusCode::NOT_FOUND {
        let body = "<h1>Alerts</h1><p class=\"dim\">This node has no alertmanager.yml \
                    (alerting.alertmanager_config): what rules find are <a href=\"/\">incidents</a>.</p>";
        return Ok(html::page("Alerts", false, body));
    }
    refuse(status, &groups)?;
    let (status, silences) = ask(alerting, Method::GET, "/api/v2/silences", None).await?;
    refuse(status, &silences)?;
    let body = format!("<h1>Alerts</h1>{}<h2>Silences</h2>{}", all(&groups), quiet(&silences));
    Ok(html::page("Alerts", false, &body))
}

fn alerting(site: &Site) -> Result<Router, Problem> {
    let missing = "role alerting does not run on this node: ask one where it does";
    site.alerting.clone().ok_or_else(|| Problem::not_found(missing))
}

/// What Alertmanager's API refuses: its message is the whole answer.
fn refuse(status: StatusCode, answer: &Value) -> Result<(), Problem> {
    let said = answer.as_str().or(answer["message"].as_str()).unwrap_or("refused");
    if status.is_success() { Ok(()) } else { Err(Problem::new(status, said)) }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn all(groups: &Value) -> String {
    let (mut body, mut left) = (String::new(), ALERTS_MAX);
    for group in list(groups) {
        let alerts: Vec<&Value> = list(&group["alerts"]).collect();
        let rows: Vec<_> = alerts.iter().take(left).map(|alert| row(alert)).collect();
        left -= rows.len();
        let name = labels(&group["labels"]);
        let name = if name.is_empty() { "all".to_owned() } else { name };
        body.push_str(&format!(
            "<h2>{name}</h2><p class=\"dim\">to {}</p>{}",
            Text(group["receiver"]["name"].as_str().unwrap_or_default()),
            table(
                &["State", "Since", "Alert", ""],
                &rows,
                "More than fit on this page: amtool alert query lists them."
            )
        ));
    }
    match body.is_empty() {
        true => "<p class=\"dim\">Nothing fires.</p>".to_owned(),
        false => body,
    }
}

/// `alertname="Down" instance="web-1"`.
fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let said: Vec<_> = pairs
        .map(|(name, value)| {
            format!("{}=\"{}\"", Text(name), Text(value.as_str().unwrap_or_default()))
        })
        .collect();
    said.join(" ")
}

fn row(alert: &Value) -> Vec<String> {
    let status = &alert["status"];
    let count = |name: &str| list(&status[name]).count();
    let state = match (count("silencedBy"), count("inhibitedBy")) {
        (0, 0) => "<span class=\"triggered\">firing</span>",
        (0, _) => "<span class=\"dim\">inhibited</span>",
        _ => "<span class=\"dim\">silenced</span>",
    };
    let notes = alert["annotations"].as_object().into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        let shown = match is_link(value) {
            true => format!("<a href=\"{0}\">{0}</a>", Text(value)),
            false => Text(value).to_string(),
        };
        format!("<br><span class=\"dim\">{}</span> {shown}", Text(name))
    });
    let notes: String = notes.collect();
    let source = alert["generatorURL"].as_str().filter(|url| is_link(url));
    let source = source.map(|url| format!("<br><a href=\"{}\">where it comes from</a>", Text(url)));
    vec![
        state.to_owned(),
        time(&alert["startsAt"]),
        format!("{}{notes}{}", labels(&alert["labels"]), source.unwrap_or_default()),
        begin(&alert["labels"]),
    ]
}

/// `2026-01-05T09:00:00.000Z` as the console shows times.
fn time(instant: &Value) -> String {
    let text = instant.as_str().unwrap_or_default();
    match text.parse::<DateTime<Utc>>() {
        Ok(at) => super::time(at),
        Err(_) => Text(text).to_string(),
    }
}

/// The form of a silence: which of the alert's labels it is about, for how long, who says so and why.
fn begin(labels: &Value) -> String {
    let label = |(name, value): (&String, &Value)| {
        let pair = json!([name, value]).to_string();
        format!(
            "<label><input type=\"checkbox\" name=\"label\" value=\"{}\" checked> {}=\"{}\"</label><br>",
            Text(pair),
            Text(name),
            Text(value.as_str().unwrap_or_default())
        )
    };
    let choice: String = labels.as_object().into_iter().flatten().map(label).collect();
    format!(
        "<details><summary>Silence</summary><form class=\"actions\" method=\"post\" action=\"/alerts/silences\">{choice}\
         <label>Hours <input name=\"hours\" type=\"number\" min=\"1\" max=\"{HOURS_MAX}\" value=\"2\"></label><br>\
         <label>Your name <input name=\"by\" required maxlength=\"128\"></label><br>\
         <label>Why <input name=\"comment\" required maxlength=\"1000\"></label><br>\
         <button>Silence</button></form></details>"
    )
}

fn quiet(silences: &Value) -> String {
    let open = list(silences).filter(|silence| silence["status"]["state"] != "expired");
    let row = |silence: &Value| {
        let text = |name: &str| Text(silence[name].as_str().unwrap_or_default()).to_string();
        vec![
            Text(silence["status"]["state"].as_str().unwrap_or_default()).to_string(),
            Text(list(&silence["matchers"]).map(matcher).collect::<Vec<_>>().join(" ")).to_string(),
            time(&silence["startsAt"]),
            time(&silence["endsAt"]),
            format!("{}: {}", text("createdBy"), text("comment")),
            format!(
                "<form method=\"post\" action=\"/alerts/silences/{}/expire\"><button>End</button></form>",
                text("id")
            ),
        ]
    };
    let rows: Vec<_> = open.map(row).collect();
    table(&["State", "About", "From", "To", "Why", ""], &rows, "None.")
}

/// `alertname=~"Down.*"`.
fn matcher(matcher: &Value) -> String {
    let sign = match (matcher["isEqual"] != false, matcher["isRegex"] == true) {
        (true, false) => "=",
        (true, true) => "=~",
        (false, false) => "!=",
        (false, true) => "!~",
    };
    let text = |name: &str| matcher[name].as_str().unwrap_or_default();
    format!("{}{sign}{:?}", text("name"), text("value"))
}

/// A silence begins now.
pub(super) async fn silence(
    State(site): State<Site>,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let alerting = alerting(&site)?;
    let body = wanted(&form, Utc::now()).map_err(Problem::bad_request)?;
    let (status, answer) = ask(alerting, Method::POST, "/api/v2/silences", Some(body)).await?;
    refuse(status, &answer)?;
    Ok(Redirect::to("/alerts").into_response())
}

/// What the API takes for a form.
fn wanted(form: &[(String, String)], now: DateTime<Utc>) -> Result<Value, String> {
    let field = |wanted: &str| {
        let found = form.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value.trim())
    };
    let mut matchers = Vec::new();
    for (_, pair) in form.iter().filter(|(name, _)| name == "label") {
        let (name, value): (String, String) = serde_json::from_str(pair)
            .map_err(|_| format!("label: {pair:?} is not a pair of name and value"))?;
        matchers.push(json!({"name": name, "value": value, "isRegex": false, "isEqual": true}));
    }
    if matchers.is_empty() {
        return Err("label: choose at least one, or everything would be silent".to_owned());
    }
    let hours: i64 = field("hours").parse().unwrap_or_default();
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(format!("hours: {:?} is out of range: give 1 to {HOURS_MAX}", field("hours")));
    }
    let (by, comment) = (field("by"), field("comment"));
    if by.is_empty() || comment.is_empty() {
        return Err("by, comment: say who wants it and why".to_owned());
    }
    let end = now + TimeDelta::hours(hours);
    Ok(json!({"matchers": matchers, "startsAt": now.to_rfc3339(), "endsAt": end.to_rfc3339(),
              "createdBy": by, "comment": comment}))
}

/// A silence ends now.
pub(super) async fn expire(
    State(site): State<Site>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    check_name("silence", &id)?;
    let path = format!("/api/v2/silence/{id}");
    let (status, answer) = ask(alerting(&site)?, Method::DELETE, &path, None).await?;
    refuse(status, &answer)?;
    Ok(Redirect::to("/alerts").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_silence() {
        let now: DateTime<Utc> = "2026-01-05T09:00:00Z".parse().expect("a time");
        let form = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let good = [
            ("label", r#"["alertname","Down"]"#),
            ("label", r#"["a b","x\"y"]"#),
            ("hours", "2"),
            ("by", " ann "),
            ("comment", "repair"),
        ];
        let silence = wanted(&form(&good), now).expect("a silence");
        assert_eq!(silence["matchers"][1]["value"], "x\"y");
        assert_eq!(silence["endsAt"], "2026-01-05T11:00:00+00:00");
        assert_eq!(silence["createdBy"], "ann");
        for (fields, what) in [
            (&good[2..], "label"),
            (&good[..2], "hours"),
            (&[good[0], good[2], good[3]][..], "comment"),
            (&[("label", "x")][..], "label"),
        ] {
            let refused = wanted(&form(fields), now).expect_err(what);
            assert!(refused.contains(what), "{refused}");
        }
    }

    #[test]
    fn what_alerts_say_is_no_markup() {
        let groups = json!([{"labels": {"alertname": "<b>"}, "receiver": {"name": "ops"}, "alerts": [{
            "labels": {"alertname": "<b>", "x": "\"'"}, "annotations": {"runbook_url": "https://w/?a=1&b=2"},
            "startsAt": "2026-01-05T09:00:00.000Z", "status": {"state": "suppressed", "silencedBy": ["id"], "inhibitedBy": []},
        }]}]);
        let page = all(&groups);
        assert!(page.contains("alertname=\"&lt;b&gt;\"") && !page.contains("<b>"), "{page}");
        assert!(page.contains("<a href=\"https://w/?a=1&amp;b=2\">"), "{page}");
        assert!(page.contains("silenced") && page.contains("2026-01-05 09:00:00 UTC"), "{page}");
        assert!(page.contains("value=\"[&quot;x&quot;,&quot;\\&quot;&#39;&quot;]\""), "{page}");
        assert_eq!(all(&json!([])), "<p class=\"dim\">Nothing fires.</p>");
        let matchers = json!([{"name": "a", "value": "b", "isRegex": true, "isEqual": false}]);
        assert_eq!(list(&matchers).map(matcher).collect::<String>(), "a!~\"b\"");
    }
}
