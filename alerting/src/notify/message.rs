//! What a page says, in words. Pure.

use std::fmt::Write as _;

use watchkeep_catalog::{Incident, Note, Page, PageKind};

use crate::text::{instant, shorten};

/// Lines of the timeline in a message; the latest.
const TIMELINE_MAX: usize = 20;
/// Longest subject, in characters.
const SUBJECT_MAX: usize = 200;

pub(super) fn runbook_url(url: &str, incident: &Incident) -> String {
    format!("{url}/runbooks/{}", incident.alert)
}

pub(super) fn incident_url(url: &str, incident: &Incident) -> String {
    format!("{url}/v1/incidents/{}", incident.id)
}

/// Whether the page is about a failover that failed, not about the incident's begin or end.
fn is_failover_failed(page: &Page) -> bool {
    page.id.starts_with("failover-failed.")
}

/// One line.
pub(super) fn summary(incident: &Incident, page: &Page) -> String {
    if is_failover_failed(page) {
        format!("failover failed, act by hand: {}", incident.title)
    } else {
        incident.title.clone()
    }
}

/// `[FIRING] db/db-1 is critical: …`
pub(super) fn subject(incident: &Incident, page: &Page) -> String {
    let state = match page.kind {
        PageKind::Firing => "FIRING",
        PageKind::Resolved => "RESOLVED",
    };
    shorten(&format!("[{state}] {}", summary(incident, page)), SUBJECT_MAX)
}

/// The latest news of the timeline that a page is sent for.
pub(super) fn description(incident: &Incident, page: &Page) -> String {
    let news = |note: &&Note| !note.text.starts_with("page (");
    let lines = incident.timeline.iter().rev().filter(news);
    let failed = |note: &&Note| note.text.starts_with("failover") && note.text.contains("failed");
    let note = if is_failover_failed(page) {
        incident.timeline.iter().rev().find(failed)
    } else if page.kind == PageKind::Resolved {
        lines.take(1).next()
    } else {
        incident.timeline.iter().find(|note| note.text.starts_with("critical"))
    };
    note.map_or_else(|| incident.title.clone(), |note| format!("{}: {}", note.by, note.text))
}

/// The facts, as pairs of name and value.
pub(super) fn facts(url: &str, incident: &Incident) -> Vec<(&'static str, String)> {
    let label = |name| incident.labels.get(name).cloned();
    let optional = [
        ("Service", label("service")),
        ("Instance", label("instance")),
        ("Role", label("role")),
        ("Zone", label("zone")),
        ("First failed", Some(instant(incident.started_at))),
        ("Resolved", incident.resolved_at.map(instant)),
        ("On call", incident.on_call.clone()),
        ("Acknowledged", incident.acknowledged_by.clone()),
        ("Failover", incident.failover.clone()),
        ("Runbook", Some(runbook_url(url, incident))),
        ("Incident", Some(incident_url(url, incident))),
    ];
    optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// How to take it; nothing when it is over.
pub(super) fn remedy(url: &str, incident: &Incident, page: &Page) -> Option<String> {
    if page.kind == PageKind::Resolved {
        return None;
    }
    let by = incident.on_call.as_deref().unwrap_or("your-name");
    Some(format!(
        "curl {} -H 'content-type: application/json' -d '{{\"action\":\"acknowledge\",\"by\":\"{by}\"}}'",
        incident_url(url, incident)
    ))
}

/// The latest lines of the timeline.
pub(super) fn timeline(incident: &Incident) -> Vec<String> {
    let skipped = incident.timeline.len().saturating_sub(TIMELINE_MAX);
    let line = |note: &Note| format!("{}  {}: {}", instant(note.at), note.by, note.text);
    incident.timeline[skipped..].iter().map(line).collect()
}

/// As plain text.
pub(super) fn plain(url: &str, incident: &Incident, page: &Page) -> String {
    let mut text = format!("{}\n\n", subject(incident, page));
    for (name, value) in facts(url, incident) {
        let _ = writeln!(text, "{name:<13} {value}");
    }
    if let Some(remedy) = remedy(url, incident, page) {
        let _ = write!(text, "\nTake it:\n  {remedy}\n");
    }
    text.push_str("\nTimeline\n");
    for line in timeline(incident) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// As HTML, without a picture, a script or anything loaded from elsewhere.
pub(super) fn html(url: &str, incident: &Incident, page: &Page) -> String {
    let color = match page.kind {
        PageKind::Firing => "#b00020",
        PageKind::Resolved => "#1b7a2f",
    };
    let mut body = format!(
        "<!doctype html>\n<html lang=\"en\"><body style=\"font:15px/1.5 sans-serif;color:#222;\
         max-width:44em\">\n<h1 style=\"font-size:18px;color:{color}\">{}</h1>\n<table>\n",
        escape(&subject(incident, page))
    );
    for (name, value) in facts(url, incident) {
        let value = escape(&value);
        let value = if value.starts_with("http") {
            format!("<a href=\"{value}\">{value}</a>")
        } else {
            value
        };
        let _ = writeln!(body, "<tr><th align=\"left\">{name}</th><td>{value}</td></tr>");
    }
    body.push_str("</table>\n");
    if let Some(remedy) = remedy(url, incident, page) {
        let _ = writeln!(body, "<p>Take it:</p>\n<pre>{}</pre>", escape(&remedy));
    }
    let lines = timeline(incident).iter().map(|line| escape(line)).collect::<Vec<_>>().join("\n");
    let _ = write!(body, "<p>Timeline</p>\n<pre>{lines}</pre>\n</body></html>\n");
    body
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{opened_incident, rules, time},
        incident,
    };

    const URL: &str = "http://127.0.0.1:8480";

    #[test]
    fn words_of_each_page() {
        let mut incident = opened_incident();
        incident.title.push_str(" <b>&");
        let firing = incident.pages[0].clone();
        insta::assert_snapshot!("plain_firing", plain(URL, &incident, &firing));
        insta::assert_snapshot!("html_firing", html(URL, &incident, &firing));
        let text = "failover any-primary failed: 10 attempts failed, the last: answered 503";
        incident::note(&mut incident, time(9), "watchkeep", text);
        let to = rules().recipients(Some("alice"));
        incident::page(&mut incident, "failover-failed", PageKind::Firing, &to);
        let failed = incident.pages[3].clone();
        insta::assert_snapshot!("subject_failover_failed", subject(&incident, &failed));
        assert_eq!(description(&incident, &failed), format!("watchkeep: {text}"));
        incident::resolve(&mut incident, "alice", "resolved", time(60)).unwrap();
        let resolved = incident.pages.iter().find(|p| p.kind == PageKind::Resolved).unwrap();
        insta::assert_snapshot!("plain_resolved", plain(URL, &incident, resolved));
        assert_eq!(description(&incident, resolved), "alice: resolved");
    }
}
