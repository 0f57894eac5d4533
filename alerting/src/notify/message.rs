//! What a page says, in words. Pure.

use std::fmt::Write as _;

use watchkeep_catalog::{Incident, Note, Page, PageKind};

use crate::{
    alone::is_unknown,
    failover::judge::{APPROVAL, EXPIRED, FAILED, HELD},
    link::Links,
    text::{escape, instant, shorten},
};

/// Lines of the timeline in a message; the latest.
const TIMELINE_MAX: usize = 20;
/// Longest subject, in characters.
const SUBJECT_MAX: usize = 200;

/// The alert's runbook. A page of ours is told what its commands name, so that they can be pasted as they are.
pub(super) fn runbook_url(url: &str, incident: &Incident) -> String {
    let own = incident.details.get("runbook_url").filter(|own| own.starts_with("http"));
    let page = own.cloned().unwrap_or_else(|| page_of(url, &incident.alert));
    let ours = page.starts_with(&format!("{}/runbooks/", url.trim_end_matches('/')));
    let Some(mut found) = url::Url::parse(&page).ok().filter(|_| ours) else { return page };
    let labels = [("service", "SERVICE"), ("instance", "INSTANCE")];
    let named =
        labels.into_iter().filter_map(|(label, name)| Some((name, incident.labels.get(label)?)));
    found.query_pairs_mut().append_pair("INCIDENT", &incident.id).extend_pairs(named);
    found.into()
}

/// The page of an alert, whose name may be any text.
fn page_of(url: &str, alert: &str) -> String {
    let Ok(mut page) = url::Url::parse(url) else { return format!("{url}/runbooks/{alert}") };
    if let Ok(mut segments) = page.path_segments_mut() {
        segments.pop_if_empty().extend(["runbooks", alert]);
    }
    page.into()
}

/// Where people look at it.
pub(super) fn incident_url(url: &str, incident: &Incident) -> String {
    format!("{url}/incidents/{}", incident.id)
}

/// What a page about a failover says, if it is one and not about the incident's begin or end.
fn of_failover(page: &Page) -> Option<&'static str> {
    let (reason, _) = page.id.split_once('.')?;
    Some(match reason {
        FAILED => "failover failed, act by hand",
        HELD => "failover held back, act by hand",
        APPROVAL => "confirm the failover",
        EXPIRED => "failover not confirmed, act by hand",
        step if step.starts_with("failover-step-") => "failover",
        _ => return None,
    })
}

/// One line.
pub(super) fn summary(incident: &Incident, page: &Page) -> String {
    match of_failover(page) {
        Some(what) => format!("{what}: {}", incident.title),
        None => incident.title.clone(),
    }
}

/// `[FIRING] db/db-1 is critical: …`; what is not critical says what it is.
pub(super) fn subject(incident: &Incident, page: &Page) -> String {
    let state = match (page.kind, incident.severity.as_str()) {
        (PageKind::Firing, "critical" | "") => "FIRING".to_owned(),
        (PageKind::Firing, severity) => format!("FIRING {severity}"),
        (PageKind::Resolved, _) => "RESOLVED".to_owned(),
    };
    shorten(&format!("[{state}] {}", summary(incident, page)), SUBJECT_MAX)
}

/// The latest news of the timeline that a page is sent for.
pub(super) fn description(incident: &Incident, page: &Page) -> String {
    let news = |note: &&Note| !note.text.starts_with("page (");
    let lines = incident.timeline.iter().rev().filter(news);
    let said = |note: &&Note| note.text.starts_with("failover ");
    let failed = |note: &&Note| said(note) && note.text.contains("failed");
    let note = if page.id.starts_with(&format!("{FAILED}.")) {
        incident.timeline.iter().rev().find(failed)
    } else if of_failover(page).is_some() {
        incident.timeline.iter().rev().find(said)
    } else if page.kind == PageKind::Resolved {
        lines.take(1).next()
    } else {
        let begin =
            |note: &&Note| note.text.starts_with("critical") || note.text.starts_with("opened by");
        incident.timeline.iter().find(begin)
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
        ("Dashboard", incident.details.get("dashboard_url").cloned()),
        ("Incident", Some(incident_url(url, incident)).filter(|_| !is_unknown(incident))),
    ];
    optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// How to take it; nothing when it is over, or no registry knows it.
pub(super) fn remedy(url: &str, incident: &Incident, page: &Page) -> Option<String> {
    if page.kind == PageKind::Resolved || is_unknown(incident) {
        return None;
    }
    let by = incident.on_call.as_deref().unwrap_or("your-name");
    Some(format!(
        "curl {url}/v1/incidents/{} -H 'content-type: application/json' -d '{{\"action\":\"acknowledge\",\"by\":\"{by}\"}}'",
        incident.id
    ))
}

/// The latest lines of the timeline.
pub(super) fn timeline(incident: &Incident) -> Vec<String> {
    let skipped = incident.timeline.len().saturating_sub(TIMELINE_MAX);
    let line = |note: &Note| format!("{}  {}: {}", instant(note.at), note.by, note.text);
    incident.timeline[skipped..].iter().map(line).collect()
}

/// As plain text.
pub(super) fn plain(url: &str, incident: &Incident, page: &Page, links: Option<&Links>) -> String {
    let mut text = format!("{}\n\n", subject(incident, page));
    if let Some(description) = incident.details.get("description") {
        let _ = writeln!(text, "{description}\n");
    }
    for (name, value) in facts(url, incident) {
        let _ = writeln!(text, "{name:<13} {value}");
    }
    match (links.filter(|_| page.kind == PageKind::Firing), remedy(url, incident, page)) {
        (Some(links), _) => {
            let Links { acknowledge, resolve, failover } = links;
            if let Some((approve, abort)) = failover {
                let _ = write!(
                    text,
                    "\nConfirm the failover: {approve}\nEnd it:               {abort}\n"
                );
            }
            let _ = write!(text, "\nTake it:    {acknowledge}\nIt is over: {resolve}\n");
        }
        (None, Some(remedy)) => {
            let _ = write!(text, "\nTake it:\n  {remedy}\n");
        }
        (None, None) => {}
    }
    text.push_str("\nTimeline\n");
    for line in timeline(incident) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// As HTML that a phone can read, without a script or anything loaded from elsewhere; `picture` is the content id of an
/// image beside it, and what it shows.
pub(super) fn html(
    url: &str,
    incident: &Incident,
    page: &Page,
    links: Option<&Links>,
    picture: Option<(&str, &str)>,
) -> String {
    let (color, state) = match page.kind {
        PageKind::Firing => ("#b00020", "Firing"),
        PageKind::Resolved => ("#1b7a2f", "Resolved"),
    };
    let (title, severity) = (escape(&summary(incident, page)), escape(&incident.severity));
    let mut body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title></head>\n\
         <body style=\"margin:0;padding:12px;background:#f4f4f5;color:#1c1c1e;font:16px/1.5 system-ui,Helvetica,sans-serif\">\n\
         <div style=\"max-width:640px;margin:0 auto;background:#fff;border-top:5px solid {color};border-radius:6px;padding:18px\">\n\
         <p style=\"margin:0;color:{color};font-weight:600;font-size:14px\">{state} &middot; {severity}</p>\n\
         <h1 style=\"font-size:20px;line-height:1.3;margin:4px 0 14px;overflow-wrap:anywhere\">{title}</h1>\n"
    );
    if let Some(description) = incident.details.get("description") {
        let _ = writeln!(body, "<p style=\"overflow-wrap:anywhere\">{}</p>", escape(description));
    }
    if page.kind == PageKind::Firing {
        body.push_str(&buttons(url, incident, page, links));
    }
    if let Some((id, text)) = picture {
        let text = escape(text);
        let _ = writeln!(
            body,
            "<p style=\"margin:14px 0\"><img src=\"cid:{id}\" alt=\"{text}\" width=\"600\" \
             style=\"width:100%;max-width:600px;height:auto\"><br><span style=\"color:#666;font-size:13px\">{text}</span></p>"
        );
    }
    body.push_str("<table style=\"border-collapse:collapse;width:100%;font-size:15px\">\n");
    for (name, value) in facts(url, incident) {
        let value = escape(&value);
        let value = if value.starts_with("http") {
            format!("<a href=\"{value}\">{value}</a>")
        } else {
            value
        };
        let _ = writeln!(
            body,
            "<tr><th align=\"left\" style=\"padding:3px 12px 3px 0;color:#666;font-weight:400;vertical-align:top;\
             white-space:nowrap\">{name}</th><td style=\"padding:3px 0;overflow-wrap:anywhere;word-break:break-word\">{value}</td></tr>"
        );
    }
    body.push_str("</table>\n<h2 style=\"font-size:15px;margin:18px 0 6px\">Timeline</h2>\n");
    for line in timeline(incident) {
        let _ = writeln!(
            body,
            "<p style=\"margin:0 0 6px;font-size:13px;overflow-wrap:anywhere\">{}</p>",
            escape(&line)
        );
    }
    body.push_str("</div></body></html>\n");
    body
}

/// What can be done with a thumb; without links, how to do it by hand.
fn buttons(url: &str, incident: &Incident, page: &Page, links: Option<&Links>) -> String {
    let Some(Links { acknowledge, resolve, failover }) = links else {
        let Some(remedy) = remedy(url, incident, page) else { return String::new() };
        return format!(
            "<p style=\"margin:0\">Take it:</p>\n<pre style=\"white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px\">{}</pre>\n",
            escape(&remedy)
        );
    };
    let button = "display:inline-block;margin:0 8px 8px 0;padding:12px 20px;border-radius:6px;font-weight:600;text-decoration:none";
    let asked = failover.as_ref().map_or_else(String::new, |(approve, abort)| {
        format!(
            "<p style=\"margin:0 0 8px\"><a href=\"{}\" style=\"{button};background:#b00020;color:#fff\">Confirm the \
             failover</a> <a href=\"{}\" style=\"{button};background:#e8eaed;color:#1c1c1e\">End it</a></p>\n",
            escape(approve),
            escape(abort)
        )
    });
    format!(
        "{asked}<p style=\"margin:0 0 8px\"><a href=\"{}\" style=\"{button};background:#0b57d0;color:#fff\">Acknowledge</a>\
         <a href=\"{}\" style=\"{button};background:#e8eaed;color:#1c1c1e\">Resolve</a></p>\n",
        escape(acknowledge),
        escape(resolve)
    )
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
    fn an_alerts_name_is_any_text() {
        assert_eq!(page_of(URL, "Down"), format!("{URL}/runbooks/Down"));
        assert_eq!(page_of("http://w/x/", "a b/ö?"), "http://w/x/runbooks/a%20b%2F%C3%B6%3F");
    }

    #[test]
    fn the_commands_of_a_runbook_are_told_what_they_name() {
        let mut incident = opened_incident();
        let id = incident.id.clone();
        let filled =
            format!("{URL}/runbooks/InstanceCritical?INCIDENT={id}&SERVICE=db&INSTANCE=one");
        assert_eq!(runbook_url(URL, &incident), filled);
        // A rule's own page of ours, too; somebody else's stays as it is.
        for (own, url) in [
            (format!("{URL}/runbooks/InstanceCritical"), filled.as_str()),
            (
                "https://wiki.example.org/runbooks/x?y=1".to_owned(),
                "https://wiki.example.org/runbooks/x?y=1",
            ),
        ] {
            incident.details.insert("runbook_url".to_owned(), own);
            assert_eq!(runbook_url(URL, &incident), url);
        }
    }

    #[test]
    fn words_of_each_page() {
        let mut incident = opened_incident();
        incident.title.push_str(" <b>&");
        let firing = incident.pages[0].clone();
        insta::assert_snapshot!("plain_firing", plain(URL, &incident, &firing, None));
        insta::assert_snapshot!("html_firing", html(URL, &incident, &firing, None, None));
        let links = Links {
            acknowledge: format!("{URL}/v1/links/a"),
            resolve: format!("{URL}/v1/links/r"),
            failover: Some((format!("{URL}/v1/links/yes"), format!("{URL}/v1/links/no"))),
        };
        let (plain_links, html_links) = (
            plain(URL, &incident, &firing, Some(&links)),
            html(URL, &incident, &firing, Some(&links), Some(("c@example.org", "a > b"))),
        );
        assert!(plain_links.contains("Take it:    http://127.0.0.1:8480/v1/links/a\n"));
        assert!(html_links.contains("<a href=\"http://127.0.0.1:8480/v1/links/r\""));
        for asked in ["/v1/links/yes", "/v1/links/no"] {
            assert!(plain_links.contains(asked) && html_links.contains(asked));
        }
        assert!(html_links.contains("<img src=\"cid:c@example.org\" alt=\"a &gt; b\""));
        let text = "failover any-primary failed: 10 attempts failed, the last: answered 503";
        incident::note(&mut incident, time(9), "watchkeep", text);
        let to = rules().recipients(Some("alice"));
        incident::page(&mut incident, "failover-failed", PageKind::Firing, &to);
        let failed = incident.pages[3].clone();
        insta::assert_snapshot!("subject_failover_failed", subject(&incident, &failed));
        assert_eq!(description(&incident, &failed), format!("watchkeep: {text}"));
        incident::resolve(&mut incident, "alice", "resolved", time(60)).unwrap();
        let resolved = incident.pages.iter().find(|p| p.kind == PageKind::Resolved).unwrap();
        insta::assert_snapshot!("plain_resolved", plain(URL, &incident, resolved, None));
        assert_eq!(description(&incident, resolved), "alice: resolved");
    }
}
