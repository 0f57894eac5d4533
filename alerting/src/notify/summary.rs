//! One message about many incidents, where each by itself would be too many: what it says, in words and as a webhook. Pure.

use std::fmt::Write as _;

use watchkeep_catalog::{Incident, Page, PageKind};

use super::{facts::incident_url, message::summary};
use crate::{
    link::Links,
    text::{clock, escape, shorten},
};

/// Longest subject, in characters.
const SUBJECT_MAX: usize = 200;

/// One incident in the message.
pub(super) struct Line<'a> {
    pub(super) incident: &'a Incident,
    pub(super) page: &'a Page,
    pub(super) links: Option<Links>,
}

impl Line<'_> {
    fn state(&self) -> &'static str {
        match self.page.kind {
            PageKind::Firing => "FIRING",
            PageKind::Resolved => "RESOLVED",
        }
    }
}

/// `[37 FIRING, 2 RESOLVED] db/db-1 is critical: …, and 38 more`.
pub(super) fn subject(lines: &[Line<'_>]) -> String {
    let count = |kind| lines.iter().filter(|line| line.page.kind == kind).count();
    let counts = [(count(PageKind::Firing), "FIRING"), (count(PageKind::Resolved), "RESOLVED")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, state)| format!("{count} {state}")).collect();
    let first = lines.first().map(|line| summary(line.incident, line.page)).unwrap_or_default();
    let more = match lines.len() {
        0 | 1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    // What is left out is the end of the first title, not how many there are.
    let head = format!("[{}] {first}", counts.join(", "));
    shorten(&head, SUBJECT_MAX.saturating_sub(more.len())) + &more
}

const WHY: &str = "So many at once that they come in one message: see pages.rate_limit.";

pub(super) fn plain(url: &str, lines: &[Line<'_>]) -> String {
    let mut text = format!("{}\n\n{WHY}\n", subject(lines));
    for line in lines {
        let Line { incident, page, links } = line;
        let _ = write!(
            text,
            "\n{} {}  {}\n  since {}\n  {}\n",
            line.state(),
            incident.severity,
            summary(incident, page),
            clock(incident.started_at),
            incident_url(url, incident)
        );
        if let Some(Links { acknowledge, .. }) = links {
            let _ = writeln!(text, "  Take it:  {acknowledge}");
        }
    }
    text
}

/// As HTML that a phone can read.
pub(super) fn html(url: &str, lines: &[Line<'_>]) -> String {
    let title = escape(&subject(lines));
    let mut body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title></head>\n\
         <body style=\"margin:0;padding:12px;background:#f4f4f5;color:#1c1c1e;font:16px/1.5 system-ui,Helvetica,sans-serif\">\n\
         <div style=\"max-width:640px;margin:0 auto;background:#fff;border-top:5px solid #b00020;border-radius:6px;padding:18px\">\n\
         <h1 style=\"font-size:20px;line-height:1.3;margin:0 0 6px;overflow-wrap:anywhere\">{title}</h1>\n\
         <p style=\"margin:0 0 14px;color:#666;font-size:13px\">{WHY}</p>\n"
    );
    for line in lines {
        let Line { incident, page, links } = line;
        let color = match page.kind {
            PageKind::Firing => "#b00020",
            PageKind::Resolved => "#1b7a2f",
        };
        let _ = write!(
            body,
            "<div style=\"border-top:1px solid #ddd;padding:10px 0\">\
             <p style=\"margin:0;color:{color};font-weight:600;font-size:13px\">{} &middot; {} &middot; {}</p>\n\
             <p style=\"margin:2px 0 6px;overflow-wrap:anywhere\"><a href=\"{}\" style=\"color:#1c1c1e\">{}</a></p>",
            line.state(),
            escape(&incident.severity),
            clock(incident.started_at),
            escape(&incident_url(url, incident)),
            escape(&summary(incident, page)),
        );
        if let Some(Links { acknowledge, .. }) = links {
            let _ = write!(
                body,
                "<a href=\"{}\" style=\"display:inline-block;padding:8px 16px;border-radius:6px;font-weight:600;\
                 text-decoration:none;background:#0b57d0;color:#fff\">Acknowledge</a>",
                escape(acknowledge)
            );
        }
        body.push_str("</div>\n");
    }
    body.push_str("</div></body></html>\n");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{opened_incident, time};

    #[test]
    fn many_in_one() {
        let mut incidents: Vec<Incident> = (0..3).map(|_| opened_incident()).collect();
        incidents[1].title = "<b>disk</b> full".to_owned();
        crate::incident::resolve(&mut incidents[2], "bob", "resolved", time(60)).unwrap();
        let links = Links {
            acknowledge: "http://w/a".to_owned(),
            resolve: "http://w/r".to_owned(),
            failover: None,
        };
        let lines: Vec<Line<'_>> = incidents
            .iter()
            .enumerate()
            .map(|(at, incident)| Line {
                incident,
                page: incident.pages.last().unwrap(),
                links: (at < 2).then(|| links.clone()),
            })
            .collect();
        assert!(subject(&lines).starts_with("[2 FIRING, 1 RESOLVED] db/one is critical"));
        assert!(subject(&lines).ends_with(", and 2 more"));
        let (text, page) = (plain("http://w", &lines), html("http://w", &lines));
        assert_eq!(text.matches("Take it:  http://w/a").count(), 2, "{text}");
        assert_eq!(page.matches(">Acknowledge</a>").count(), 2);
        assert!(page.contains("&lt;b&gt;disk&lt;/b&gt; full") && !page.contains("<b>disk"));
        assert_eq!(text.matches("http://w/incidents/").count(), 3);
    }
}
