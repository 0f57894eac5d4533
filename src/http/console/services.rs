//! Services and their instances: in short on the console's first page, and `/services/{service}` with everything that is
//! known of one, so that nobody has to read it together: what collectors say of each check, who is left out of answers and
//! why, who is not told.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    response::Html,
};
use serde_json::Value;
use watchkeep_catalog::{
    Drain, Health, Instance, KeyValue, Opinion, Panic, Service, SilenceReason, Status, check_name,
    keys,
};

use super::{Site, failovers, get, time};
use crate::http::{
    health::{self, Seen},
    html::{self, Text, table},
    problem::Problem,
    services::{Summary, summaries},
};

/// Instances on the first page; where there are more, those that are well are left to the services' pages.
const INSTANCES_MAX: usize = 100;
/// Rows of opinions on a service's page.
const OPINIONS_MAX: usize = 1_000;

/// All services in a line each, and their instances.
pub(super) fn all(records: Vec<Service>, panics: &[Panic], instances: &[Seen]) -> String {
    let rows: Vec<_> = summaries(records, instances, panics).iter().map(summary).collect();
    let head = ["Service", "Instances", "Promise", "Description"];
    let services = table(&head, &rows, "None is registered.");
    let is_well = |seen: &&Seen| seen.status == Health::Passing && seen.drained.is_none();
    let (shown, left_out): (Vec<&Seen>, usize) = match instances.len() {
        ..=INSTANCES_MAX => (instances.iter().collect(), 0),
        all => {
            let ill = instances.iter().filter(|seen| !is_well(seen));
            let shown: Vec<&Seen> = ill.take(INSTANCES_MAX).collect();
            (shown.clone(), all - shown.len())
        }
    };
    let rows: Vec<_> = shown.into_iter().map(|seen| instance(seen, true)).collect();
    let more = match left_out {
        0 => String::new(),
        more => format!("<p class=\"dim\">{more} more: each service's page has its own.</p>"),
    };
    format!(
        "<h2>Services</h2>{services}<h2>Instances</h2>{}{more}",
        table(&["Instance", "Address", "Role", "Status", "Since", "Reason"], &rows, "None.")
    )
}

fn summary(summary: &Summary) -> Vec<String> {
    let name = Text(&summary.service.name).to_string();
    let class = if summary.critical > 0 { "critical" } else { "passing" };
    let panic = summary.panic.as_ref().map(|panic| {
        format!(
            " <span class=\"critical\">panic: {} of {} seemed critical</span>",
            panic.critical, panic.instances
        )
    });
    vec![
        format!("<a href=\"/services/{name}\">{name}</a>"),
        format!(
            "<span class=\"{class}\">{} of {} passing</span>{}",
            summary.passing,
            summary.instances,
            panic.unwrap_or_default()
        ),
        format!("<a href=\"/v1/slo/{name}?format=html\">SLO</a>"),
        Text(&summary.service.description).to_string(),
    ]
}

/// A row; `whole`: its service is in the name.
fn instance(seen: &Seen, whole: bool) -> Vec<String> {
    let i = &seen.instance;
    let status = seen.status.as_str();
    let name = match whole {
        true => format!(
            "<a href=\"/services/{}\">{}</a>",
            Text(&i.service),
            Text(format_args!("{}/{}", i.service, i.id))
        ),
        false => Text(&i.id).to_string(),
    };
    vec![
        name,
        Text(format_args!("{}:{}", i.address, i.port)).to_string(),
        Text(&i.role).to_string(),
        format!("<span class=\"{status}\">{status}</span>{}", remarks(seen)),
        seen.since.map(time).unwrap_or_default(),
        Text(seen.reason.as_deref().unwrap_or_default()).to_string(),
    ]
}

/// Why it is in no answer although it is well, and why nobody is told that it is not.
fn remarks(seen: &Seen) -> String {
    let mut said = String::new();
    if let Some(drain) = &seen.drained {
        said.push_str(&format!("<br><b>drained</b> by {}", Text(&drain.by)));
    }
    if let Some(silence) = &seen.silenced {
        let why = match silence.reason {
            SilenceReason::Maintenance => "in maintenance",
            SilenceReason::Dependency => "depends on",
            SilenceReason::Waiting => "waits for",
        };
        said.push_str(&format!("<br><span class=\"dim\">{why} {}</span>", Text(&silence.by)));
    }
    said
}

/// `/services/{service}`.
pub(super) async fn show(
    State(site): State<Site>,
    Path(name): Path<String>,
) -> Result<Html<String>, Problem> {
    check_name("service", &name)?;
    let (record, panic) = (keys::service(&name), keys::panic(&name));
    let opinions = format!("{}{name}/", keys::OPINIONS);
    let ((seen, _), record, panic, (opinions, _)) = tokio::try_join!(
        health::of_service(&site.client, &name),
        site.client.get(&record),
        site.client.get(&panic),
        site.client.list(&opinions),
    )?;
    let record: Option<Service> = record.and_then(|kv| kv.json().ok());
    if record.is_none() && seen.is_empty() {
        return Err(Problem::not_found(format!(
            "service {name:?} is not known: / lists those that are"
        )));
    }
    let panic: Option<Panic> = panic.and_then(|kv| kv.json().ok());
    let rows: Vec<_> = seen.iter().map(detailed).collect();
    let head = ["Instance", "Address", "Role", "Status", "Since", "Reason", "Zone", "Tags"];
    let shown = Text(&name).to_string();
    let mut body = format!("<h1>{shown}</h1>{}", about(&shown, record.as_ref()));
    if let Some(panic) = &panic {
        body.push_str(&format!(
            "<p class=\"critical\">Panic since {}: {} of {} instances seemed critical at once, more than {} %. None is \
             believed to be; <a href=\"/incidents/{}\">the incident</a>.</p>",
            time(panic.since),
            panic.critical,
            panic.instances,
            panic.threshold_percent,
            Text(&panic.incident)
        ));
    }
    body.push_str(&format!("<h2>Instances</h2>{}", table(&head, &rows, "None is registered.")));
    body.push_str(&format!("<h2>Checks</h2>{}", checks(&seen, &opinions)));
    body.push_str(&drains(&seen));
    if site.alerting.is_some() {
        body.push_str(&windows(&site, &seen, &name).await?);
        body.push_str(&failovers::of_service(&site, &name).await?);
    }
    Ok(html::page(&name, true, &body))
}

fn detailed(seen: &Seen) -> Vec<String> {
    let mut row = instance(seen, false);
    row.push(Text(&seen.instance.zone).to_string());
    row.push(Text(seen.instance.tags.join(", ")).to_string());
    row
}

/// What the record says, and where else to look.
fn about(name: &str, record: Option<&Service>) -> String {
    let mut said = Vec::new();
    if let Some(record) = record {
        if !record.description.is_empty() {
            said.push(Text(&record.description).to_string());
        }
        if let Some(slo) = &record.slo {
            let share = slo.availability.map(|share| format!("{share} available"));
            let time = slo.latency_ms.map(|ms| format!("answers within {ms} ms"));
            let promise: Vec<_> = share.into_iter().chain(time).collect();
            if !promise.is_empty() {
                said.push(format!("Promise: {}", promise.join(", ")));
            }
        }
        if !record.depends_on.is_empty() {
            let link = |on: &String| {
                let service = on.split('/').next().unwrap_or(on);
                format!("<a href=\"/services/{}\">{}</a>", Text(service), Text(on))
            };
            let all: Vec<_> = record.depends_on.iter().map(link).collect();
            said.push(format!("Depends on {}", all.join(", ")));
        }
        if let Some(quorum) = record.quorum {
            said.push(format!("Quorum: {quorum}"));
        }
        if let Some(percent) = record.panic_threshold_percent {
            said.push(format!("Panic above {percent} %"));
        }
    }
    said.push(format!(
        "<a href=\"/v1/slo/{name}?format=html\">SLO</a> &middot; <a href=\"/v1/services/{name}/instances\">JSON</a>"
    ));
    format!("<p>{}</p>", said.join("<br>"))
}

/// What each collector says of each check.
fn checks(seen: &[Seen], opinions: &[KeyValue]) -> String {
    let mut said: BTreeMap<(&str, &str), Vec<(String, Opinion)>> = BTreeMap::new();
    for kv in opinions {
        let Some(all) = keys::segments(&kv.key, keys::OPINIONS) else { continue };
        let ([_, id, check, collector], Ok(opinion)) = (&all[..], kv.json()) else { continue };
        said.entry((id, check)).or_default().push(((*collector).to_owned(), opinion));
    }
    let mut rows = Vec::new();
    for Seen { instance, .. } in seen {
        for check in &instance.checks {
            let of = said.remove(&(instance.id.as_str(), check.name.as_str()));
            let kind = check.kind_name();
            rows.extend(of_check(instance, &check.name, kind, of.unwrap_or_default()));
        }
    }
    let all = rows.len();
    rows.truncate(OPINIONS_MAX);
    let more = match all - rows.len() {
        0 => String::new(),
        more => format!("<p class=\"dim\">{more} more.</p>"),
    };
    let head = ["Instance", "Check", "Collector", "Says", "Since", "Reason"];
    format!("{}{more}", table(&head, &rows, "Nothing is probed."))
}

fn of_check(
    instance: &Instance,
    check: &str,
    kind: &str,
    opinions: Vec<(String, Opinion)>,
) -> Vec<Vec<String>> {
    let id = Text(&instance.id).to_string();
    let check = format!("{} <span class=\"dim\">{kind}</span>", Text(check));
    if opinions.is_empty() {
        let nobody = "<span class=\"unknown\">nothing yet</span>".to_owned();
        return vec![vec![id, check, String::new(), nobody, String::new(), String::new()]];
    }
    let row = |(collector, opinion): (String, Opinion)| {
        let status = match opinion.status {
            Status::Passing => "passing",
            Status::Critical => "critical",
        };
        let flapping = if opinion.flapping { " (flapping)" } else { "" };
        vec![
            id.clone(),
            check.clone(),
            Text(collector).to_string(),
            format!("<span class=\"{status}\">{status}</span>{flapping}"),
            time(opinion.since),
            Text(&opinion.reason).to_string(),
        ]
    };
    opinions.into_iter().map(row).collect()
}

/// Whom somebody has left out of answers.
fn drains(seen: &[Seen]) -> String {
    let drains = seen.iter().filter_map(|seen| seen.drained.as_deref());
    let row = |drain: &Drain| {
        vec![
            Text(&drain.instance).to_string(),
            time(drain.since),
            Text(&drain.by).to_string(),
            Text(&drain.reason).to_string(),
        ]
    };
    let rows: Vec<_> = drains.map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<h2>Drained</h2>{}",
            table(&["Instance", "Since", "By", "Reason"], &rows, "None.")
        ),
    }
}

/// The maintenance windows that are open or to come and may cover some of it.
async fn windows(site: &Site, seen: &[Seen], name: &str) -> Result<String, Problem> {
    let answer: Value = get(site.alerting.clone(), "/v1/maintenance").await?;
    let all = answer["maintenance"].as_array().into_iter().flatten();
    let rows: Vec<_> =
        all.filter(|window| concerns(&window["scope"], seen, name)).map(window).collect();
    Ok(match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<h2>Maintenance</h2>{}",
            table(&["Window", "From", "To", "Covers", "By", "Why"], &rows, "None.")
        ),
    })
}

/// Whether a window's scope has to do with this service.
fn concerns(scope: &Value, seen: &[Seen], name: &str) -> bool {
    let is = |field: &str, found: &dyn Fn(&str) -> bool| scope[field].as_str().is_none_or(found);
    is("service", &|wanted| wanted == name)
        && is("instance", &|wanted| seen.iter().any(|seen| seen.instance.id == wanted))
        && is("tag", &|wanted| {
            seen.iter().any(|seen| seen.instance.tags.iter().any(|tag| tag == wanted))
        })
}

fn window(window: &Value) -> Vec<String> {
    let span = if window["open"].is_object() { &window["open"] } else { &window["next"] };
    let at = |field: &str| {
        let text = span[field].as_str().unwrap_or_default();
        text.parse().map_or_else(|_| Text(text).to_string(), time)
    };
    let covers =
        window["scope"].as_object().into_iter().flatten().map(|(field, value)| {
            match value.as_str() {
                Some(value) => format!("{field} {value}"),
                None => "everything".to_owned(),
            }
        });
    let covers: Vec<_> = covers.collect();
    let text = |field: &str| Text(window[field].as_str().unwrap_or_default()).to_string();
    vec![
        text("id"),
        at("from"),
        at("to"),
        Text(covers.join(", ")).to_string(),
        text("author"),
        text("comment"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(id: &str, more: &[(&str, Value)]) -> Seen {
        let mut instance = json!({"service": "web", "id": id, "address": "h", "port": 1});
        for (field, value) in more {
            instance[*field] = value.clone();
        }
        Seen::judge(serde_json::from_value(instance).expect("an instance"), 0, None, false)
    }

    #[test]
    fn many_that_are_well_are_left_out() {
        let mut many: Vec<Seen> = (0..150).map(|n| seen(&format!("w{n}"), &[])).collect();
        many[7].status = Health::Critical;
        let page = all(Vec::new(), &[], &many);
        assert!(page.contains("web/w7<") && !page.contains("web/w8<"), "{page}");
        assert!(page.contains("149 more: each service's page has its own."));
        assert!(all(Vec::new(), &[], &many[..50]).contains("web/w8<"));
    }

    #[test]
    fn why_an_instance_is_left_out_is_said() {
        let drain = json!({"service": "web", "instance": "a", "since": "2026-01-05T09:00:00Z", "by": "<alice>"});
        let silence = json!({"reason": "maintenance", "by": "nightly"});
        let mut one = seen("a", &[]);
        one.drained = serde_json::from_value(drain).expect("a drain");
        one.silenced = serde_json::from_value(silence).expect("a silence");
        let said = remarks(&one);
        assert!(said.contains("<b>drained</b> by &lt;alice&gt;"), "{said}");
        assert!(said.contains("in maintenance nightly"), "{said}");
    }

    #[test]
    fn which_windows_concern_a_service() {
        let all = [seen("a", &[("tags", json!(["blue"]))])];
        for (scope, expected) in [
            (json!({"all": true}), true),
            (json!({"service": "web"}), true),
            (json!({"service": "db"}), false),
            (json!({"tag": "blue"}), true),
            (json!({"tag": "green"}), false),
            (json!({"instance": "a", "check": "tcp"}), true),
            (json!({"instance": "b"}), false),
        ] {
            assert_eq!(concerns(&scope, &all, "web"), expected, "{scope}");
        }
    }
}
