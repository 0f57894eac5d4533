//! A draft of the post-mortem: what is known stands there, what only people know is asked. Pure.

use std::fmt::Write as _;

use chrono::TimeDelta;
use watchkeep_catalog::{Incident, PageKind, PageState, Time};

use crate::text::instant;

/// As Markdown.
pub(crate) fn post_mortem(incident: &Incident) -> String {
    let mut text = format!("# {}\n\n", inline(&incident.title));
    let status = serde_json::to_value(incident.status).unwrap_or_default();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "| {name} | {} |", inline(&value));
        }
    };
    row("Incident", Some(incident.id.clone()));
    row("---", Some("---".to_owned()));
    row("Status", status.as_str().map(str::to_owned));
    row("Severity", Some(incident.severity.clone()));
    row("Alert", Some(incident.alert.clone()));
    row("Began", Some(instant(incident.started_at)));
    row("Opened", Some(instant(incident.opened_at)));
    row("First told", first_told(incident).map(|at| since(incident, at)));
    row("Taken", incident.acknowledged_at.map(|at| since(incident, at)));
    row("Taken by", incident.acknowledged_by.clone());
    row("Resolved", incident.resolved_at.map(|at| since(incident, at)));
    row("On call", incident.on_call.clone());
    row("Helped", (!incident.responders.is_empty()).then(|| incident.responders.join(", ")));
    row("Failover", incident.failover.clone());
    for (name, value) in &incident.labels {
        row(&format!("`{}`", inline(name)), Some(value.clone()));
    }
    text.push_str("\n## Summary\n\n");
    match incident.details.get("description") {
        Some(description) => {
            let _ = writeln!(text, "{}\n", inline(description));
        }
        None => text.push_str(
            "_What happened, in three sentences that somebody from outside understands._\n\n",
        ),
    }
    text.push_str("## Impact\n\n_Who noticed what, and for how long? How much of the error budget is gone?_\n\n## Timeline\n\n");
    for note in &incident.timeline {
        let _ = writeln!(
            text,
            "- {} **{}** {}",
            instant(note.at),
            inline(&note.by),
            inline(&note.text)
        );
    }
    text.push_str(
        "\n## Causes\n\n_What made it possible? Ask why until the answer is a thing that can be changed._\n\n\
         ## What went well, what did not, where we were lucky\n\n\
         ## What we will do\n\n| What | Who | Until |\n| --- | --- | --- |\n| | | |\n",
    );
    text
}

fn first_told(incident: &Incident) -> Option<Time> {
    let told = incident
        .pages
        .iter()
        .filter(|page| page.kind == PageKind::Firing && page.state == PageState::Delivered);
    told.filter_map(|page| page.finished_at).min()
}

/// An instant, and how long after the beginning it was.
fn since(incident: &Incident, at: Time) -> String {
    let passed: TimeDelta = at - incident.started_at;
    let seconds = passed.num_seconds();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let passed = match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds} s"),
        _ => format!("{hours} h {minutes} min"),
    };
    format!("{} (after {passed})", instant(at))
}

/// In one line, and without what Markdown would take for markup.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if matches!(c, '|' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '\\') && text != "---" {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{opened_incident, time},
        incident,
    };

    #[test]
    fn draft() {
        let mut incident = opened_incident();
        incident.title.push_str(" <script>|");
        incident::acknowledge(&mut incident, "alice", time(65)).unwrap();
        incident::resolve(&mut incident, "alice", "resolved", time(3_700)).unwrap();
        insta::assert_snapshot!(post_mortem(&incident));
    }
}
