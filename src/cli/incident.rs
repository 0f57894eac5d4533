//! `watchkeep incident list | show | open | ack | unack | snooze | reassign | add | note | resolve | report`.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{Incident as Record, Time, check_name};

use super::api::Node;
use crate::out;

/// `watchkeep incident …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Incident {
    /// List incidents
    List(List),
    /// One incident: what is known of it, what happened, who was told
    Show(Which),
    /// Open one by hand
    Open(Open),
    /// Take an incident: nobody else is needed
    Ack(Act),
    /// Give it back: the escalation goes on
    Unack(Act),
    /// Take it for a while: afterwards it calls again
    Snooze(Snooze),
    /// Give it to other people, or to another escalation policy
    Reassign(Reassign),
    /// Ask people for help
    Add(Add),
    /// Write a line into its timeline
    Note(Note),
    /// End an incident
    Resolve(Resolve),
    /// Print a draft of the post-mortem, as Markdown
    Report(Which),
}

/// Arguments of `watchkeep incident list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    node: Node,
    /// Only those that are `triggered`, `acknowledged` or `resolved`
    #[arg(long)]
    status: Option<String>,
    /// At most so many, 1 to 1000; the last line says how to see older ones
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only those older than what the last line said
    #[arg(long)]
    before: Option<i64>,
}

/// Arguments of `watchkeep incident open`.
#[derive(Debug, Args)]
pub(crate) struct Open {
    #[command(flatten)]
    node: Node,
    /// What is wrong, in one line
    title: String,
    /// What else there is to say
    #[arg(long, default_value = "")]
    description: String,
    /// How bad it is
    #[arg(long, default_value = "critical")]
    severity: String,
    /// Reports with the same key are about the same incident
    #[arg(long)]
    dedup_key: Option<String>,
    /// An escalation policy instead of the usual one
    #[arg(long)]
    escalation: Option<String>,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
}

/// Which incident, and who does something about it.
#[derive(Debug, Args)]
pub(crate) struct Act {
    #[command(flatten)]
    node: Node,
    /// The incident
    id: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
}

/// Arguments of `watchkeep incident snooze`.
#[derive(Debug, Args)]
pub(crate) struct Snooze {
    #[command(flatten)]
    act: Act,
    /// For so many minutes
    #[arg(long, default_value_t = 60)]
    minutes: u32,
}

/// Arguments of `watchkeep incident reassign`.
#[derive(Debug, Args)]
pub(crate) struct Reassign {
    #[command(flatten)]
    act: Act,
    /// People and teams, with commas between them
    #[arg(long, value_delimiter = ',', required_unless_present = "escalation")]
    to: Vec<String>,
    /// An escalation policy
    #[arg(long, conflicts_with = "to")]
    escalation: Option<String>,
}

/// Arguments of `watchkeep incident add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    act: Act,
    /// People and teams, with commas between them
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<String>,
}

/// Arguments of `watchkeep incident resolve`.
#[derive(Debug, Args)]
pub(crate) struct Resolve {
    #[command(flatten)]
    act: Act,
    /// What it was
    #[arg(long, default_value = "")]
    text: String,
}

/// Arguments of `watchkeep incident note`.
#[derive(Debug, Args)]
pub(crate) struct Note {
    #[command(flatten)]
    act: Act,
    /// What is to be written
    text: String,
}

/// Which incident.
#[derive(Debug, Args)]
pub(crate) struct Which {
    #[command(flatten)]
    node: Node,
    /// The incident
    id: String,
}

#[derive(Debug, Deserialize)]
struct Incidents {
    incidents: Vec<Record>,
    next: Option<i64>,
}

impl Incident {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Open(open) => open.run().await,
            Self::Ack(act) => act.run(json!({"action": "acknowledge"}), "acknowledged").await,
            Self::Unack(act) => act.run(json!({"action": "unacknowledge"}), "given back").await,
            Self::Snooze(Snooze { act, minutes }) => {
                let seconds = u64::from(minutes) * 60;
                act.run(json!({"action": "snooze", "seconds": seconds}), "snoozed").await
            }
            Self::Reassign(Reassign { act, to, escalation }) => {
                let body = json!({"action": "reassign", "to": to, "escalation": escalation});
                act.run(body, "reassigned").await
            }
            Self::Add(Add { act, to }) => {
                act.run(json!({"action": "add_responder", "to": to}), "help asked for").await
            }
            Self::Note(Note { act, text }) => {
                act.run(json!({"action": "note", "text": text}), "noted").await
            }
            Self::Resolve(Resolve { act, text }) => {
                act.run(json!({"action": "resolve", "text": text}), "resolved").await
            }
            Self::Show(which) => which.show().await,
            Self::Report(which) => which.report().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        if let Some(status) = &self.status {
            query.append_pair("status", status);
        }
        if let Some(before) = self.before {
            query.append_pair("before", &before.to_string());
        }
        let path = format!("/v1/incidents?{}", query.finish());
        let answer: Incidents = self.node.api()?.get(&path).await?;
        let head = ["INCIDENT", "STATUS", "SEVERITY", "SINCE", "TITLE"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(
            answer
                .incidents
                .into_iter()
                .map(|i| vec![i.id, word(&i.status), i.severity, time(i.started_at), i.title]),
        );
        out::table(&rows);
        if let Some(next) = answer.next {
            out::line(format_args!("there are older ones: --before {next}"));
        }
        Ok(())
    }
}

impl Open {
    async fn run(self) -> anyhow::Result<()> {
        let body = json!({"title": self.title, "description": self.description, "severity": self.severity, "dedup_key": self.dedup_key,
                          "escalation": self.escalation, "by": self.by});
        let incident: Record = self.node.api()?.post("/v1/incidents", &body).await?;
        out::line(format_args!("{} {}", incident.id, incident.title));
        Ok(())
    }
}

impl Act {
    async fn run(self, mut action: Value, done: &str) -> anyhow::Result<()> {
        check_name("incident", &self.id)?;
        let path = format!("/v1/incidents/{}", self.id);
        action["by"] = json!(self.by);
        self.node.api()?.post::<Value>(&path, &action).await?;
        out::line(format_args!("{} {done} by {}", self.id, self.by));
        Ok(())
    }
}

impl Which {
    async fn show(self) -> anyhow::Result<()> {
        check_name("incident", &self.id)?;
        let incident: Record = self.node.api()?.get(&format!("/v1/incidents/{}", self.id)).await?;
        for rows in [facts(&incident), timeline(&incident), messages(&incident)] {
            out::table(&rows);
            out::line("");
        }
        Ok(())
    }

    async fn report(self) -> anyhow::Result<()> {
        check_name("incident", &self.id)?;
        let text = self.node.api()?.text(&format!("/v1/incidents/{}/report", self.id)).await?;
        out::line(format_args!("{}", text.trim_end()));
        Ok(())
    }
}

fn time(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A record's own word for a state.
fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn facts(incident: &Record) -> Vec<Vec<String>> {
    let mut rows = vec![vec![incident.id.clone(), incident.title.clone()]];
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![name.to_owned(), one_line(&value)]);
        }
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    row("status", word(&incident.status));
    row("severity", incident.severity.clone());
    row("alert", incident.alert.clone());
    row("began", time(incident.started_at));
    row("resolved", incident.resolved_at.map(time).unwrap_or_default());
    row("on call", text(&incident.on_call));
    row("taken by", text(&incident.acknowledged_by));
    row("snoozed until", incident.snoozed_until.map(time).unwrap_or_default());
    row("given to", incident.assigned.join(", "));
    row("responders", incident.responders.join(", "));
    row("failover", text(&incident.failover));
    for (name, value) in incident.labels.iter().chain(&incident.details) {
        row(name, value.clone());
    }
    rows
}

fn timeline(incident: &Record) -> Vec<Vec<String>> {
    let mut rows = vec![["WHEN", "WHO", "WHAT"].map(str::to_owned).to_vec()];
    let line =
        |note: &watchkeep_catalog::Note| vec![time(note.at), note.by.clone(), one_line(&note.text)];
    rows.extend(incident.timeline.iter().map(line));
    rows
}

fn messages(incident: &Record) -> Vec<Vec<String>> {
    let head = ["MESSAGE", "TO", "BY", "STATE", "WHEN", "ERROR"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(incident.pages.iter().map(|page| {
        // What it was sent for: `step-2` of an escalation, `help-…`.
        let kind = match (word(&page.kind), page.id.split('.').next()) {
            (kind, Some(reason)) if reason != kind => format!("{kind} ({reason})"),
            (kind, _) => kind,
        };
        vec![
            kind,
            page.receiver.clone(),
            page.channel.clone(),
            word(&page.state),
            page.finished_at.or(page.not_before).map(time).unwrap_or_default(),
            page.error.as_deref().map(one_line).unwrap_or_default(),
        ]
    }));
    rows
}
