//! What a page says, in words. Pure.

use std::fmt::Write as _;

use watchkeep_catalog::{Incident, Note, Page, PageKind};

use super::{TEST, facts::facts};
use crate::{
    alone::is_unknown,
    failover::judge::{APPROVAL, EXPIRED, FAILED, HELD},
    link::Links,
    text::{address, clock, escape, shorten},
};

/// Lines of the timeline in a message; the latest.
const TIMELINE_MAX: usize = 20;
/// Longest subject, in characters.
const SUBJECT_MAX: usize = 200;

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

/// Whether it only shows that somebody is reached.
fn is_test(page: &Page) -> bool {
    page.id.split('.').next() == Some(TEST)
}

/// One line.
pub(super) fn summary(incident: &Incident, page: &Page) -> String {
    match of_failover(page) {
        Some(what) => format!("{what}: {}", incident.title),
        None => incident.title.clone(),
    }
}

/// Where it is, as far as the title does not say so: `(web/web-1)`.
fn place(incident: &Incident) -> String {
    let unsaid = |label: &&str| {
        let value = incident.labels.get(*label)?.as_str();
        (!value.is_empty() && !incident.title.contains(value)).then_some(value)
    };
    let said: Vec<&str> = ["service", "instance"].iter().filter_map(unsaid).collect();
    if said.is_empty() { String::new() } else { format!("({})", said.join("/")) }
}

/// `[FIRING] db/db-1 is critical: …`; what is not critical says what it is.
pub(super) fn subject(incident: &Incident, page: &Page) -> String {
    let state = match (page.kind, incident.severity.as_str()) {
        (PageKind::Firing, _) if is_test(page) => "TEST".to_owned(),
        (PageKind::Firing, "critical" | "") => "FIRING".to_owned(),
        (PageKind::Firing, severity) => format!("FIRING {severity}"),
        (PageKind::Resolved, _) => "RESOLVED".to_owned(),
    };
    let head = format!("[{state}] {}", summary(incident, page));
    match shorten(&place(incident), SUBJECT_MAX / 2) {
        place if place.is_empty() => shorten(&head, SUBJECT_MAX),
        place => format!("{} {place}", shorten(&head, SUBJECT_MAX - 2 - place.chars().count())),
    }
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
    } else if let Some(said) = incident.details.get("description") {
        return said.clone();
    } else {
        let begin =
            |note: &&Note| note.text.starts_with("critical") || note.text.starts_with("opened by");
        incident.timeline.iter().find(begin)
    };
    note.map_or_else(|| incident.title.clone(), |note| format!("{}: {}", note.by, note.text))
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

/// The latest lines of the timeline, without those that say that a page arrived: whoever reads a mail knows of it.
pub(super) fn timeline(incident: &Incident) -> Vec<String> {
    let is_news = |note: &&Note| !note.text.starts_with("page (") || note.text.contains("given up");
    let line = |note: &Note| format!("{}  {}: {}", clock(note.at), note.by, note.text);
    let mut lines: Vec<_> =
        incident.timeline.iter().rev().filter(is_news).take(TIMELINE_MAX).map(line).collect();
    lines.reverse();
    lines
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
        PageKind::Firing if is_test(page) => ("#0b57d0", "Test"),
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
        let _ = writeln!(
            body,
            "<p style=\"white-space:pre-line;overflow-wrap:anywhere\">{}</p>",
            escape(description)
        );
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
    // Of a fixed width: a long URL beside it would leave a name two letters to a line on a phone.
    body.push_str(
        "<table width=\"100%\" style=\"border-collapse:collapse;table-layout:fixed;width:100%;font-size:15px\">\n",
    );
    for (name, value) in facts(url, incident) {
        let value = if value.starts_with("http://") || value.starts_with("https://") {
            format!("<a href=\"{}\">{}</a>", escape(&value), escape(&address(&value)))
        } else {
            escape(&value)
        };
        let _ = writeln!(
            body,
            "<tr><th align=\"left\" width=\"34%\" style=\"width:34%;padding:3px 10px 3px 0;color:#666;font-weight:400;\
             font-size:14px;vertical-align:top;overflow-wrap:anywhere\">{}</th><td style=\"padding:3px 0;\
             vertical-align:top;overflow-wrap:anywhere;word-break:break-word\">{value}</td></tr>",
            escape(&name)
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
    fn what_a_reporter_says_reaches_whoever_is_called() {
        let mut incident = opened_incident();
        incident.title = "Load is high".to_owned();
        incident.alert = "HighLoad".to_owned();
        incident.labels.insert("site".to_owned(), "eu-1".to_owned());
        for (name, value) in [
            ("summary", "Load is high"),
            ("description", "17 of 4 cores"),
            ("owner", "team <b>\nx"),
            ("client_url", "https://nagios.example.org/"),
        ] {
            incident.details.insert(name.to_owned(), value.to_owned());
        }
        let page = incident.pages[0].clone();
        assert_eq!(subject(&incident, &page), "[FIRING] Load is high (db/one)");
        assert_eq!(description(&incident, &page), "17 of 4 cores");
        let text = plain(URL, &incident, &page, None);
        for line in [
            "Alert         HighLoad\n",
            "site          eu-1\n",
            "owner         team <b> x\n",
            "client_url    https://nagios.example.org/\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
        assert!(!text.contains("summary") && !text.contains("Runbook"), "{text}");
        let page = html(URL, &incident, &page, None, None);
        assert!(page.contains("team &lt;b&gt; x</td>"), "{page}");
        assert!(page.contains("<a href=\"https://nagios.example.org/\">"), "{page}");
        incident.title = "x".repeat(300);
        let long = subject(&incident, &incident.pages[0]);
        assert!(long.ends_with(" (db/one)") && long.chars().count() <= SUBJECT_MAX, "{long}");
    }

    #[test]
    fn a_timeline_tells_news_and_not_that_pages_arrived() {
        let mut incident = opened_incident();
        for (second, text) in [
            (1, "page (firing) to alice by email delivered"),
            (2, "page (firing) to bob by email given up after 200 attempts: nobody answers"),
            (3, "escalation db, step 2: calling carol"),
        ] {
            incident::note(&mut incident, time(second), "watchkeep", text);
        }
        let lines = timeline(&incident);
        assert!(!lines.iter().any(|line| line.contains("delivered")), "{lines:?}");
        assert_eq!(
            lines[lines.len() - 2..],
            [
                "2026-01-05 09:00:02 UTC  watchkeep: page (firing) to bob by email given up after 200 attempts: nobody answers",
                "2026-01-05 09:00:03 UTC  watchkeep: escalation db, step 2: calling carol",
            ]
        );
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
