//! `watchkeep failover list | show`: the journal.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{Failover as Record, StepState, check_name};

use super::{Node, time};
use crate::out;

/// Arguments of `watchkeep failover list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    node: Node,
    /// Only those in this state: `pending`, `held`, `awaiting_approval`, …
    #[arg(long)]
    state: Option<String>,
    /// Only those of this service
    #[arg(long)]
    service: Option<String>,
    /// Only those of this policy
    #[arg(long)]
    policy: Option<String>,
    /// At most so many, 1 to 1000; the last line says how to see older ones
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only those older than this fencing token
    #[arg(long)]
    before: Option<i64>,
}

/// Arguments of `watchkeep failover show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    node: Node,
    /// The failover
    id: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Failovers {
    failovers: Vec<Value>,
    next: Option<i64>,
}

/// A record as the API shows it, beside its fencing token.
pub(super) fn record(mut shown: Value) -> anyhow::Result<(Record, i64)> {
    let token = shown.as_object_mut().and_then(|object| object.remove("fencing_token"));
    Ok((serde_json::from_value(shown)?, token.and_then(|token| token.as_i64()).unwrap_or(0)))
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut query = Serializer::new(String::new());
        let (limit, before) = (Some(self.limit.to_string()), self.before.map(|b| b.to_string()));
        let asked = [
            ("state", &self.state),
            ("service", &self.service),
            ("policy", &self.policy),
            ("limit", &limit),
            ("before", &before),
        ];
        for (name, value) in asked {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let path = format!("/v1/failovers?{}", query.finish());
        let answer: Failovers = self.node.api()?.get(&path).await?;
        let head = ["FAILOVER", "STATE", "DECIDED", "ABOUT", "OUTCOME"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for shown in answer.failovers {
            let (known, _) = record(shown)?;
            let about = known.about();
            let outcome = if known.outcome.is_empty() { known.reason } else { known.outcome };
            rows.push(vec![
                known.id,
                known.state.as_str().to_owned(),
                time(known.decided_at),
                about,
                outcome,
            ]);
        }
        out::table(&rows);
        if let Some(next) = answer.next {
            out::line(format_args!("there are older ones: --before {next}"));
        }
        Ok(())
    }
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        check_name("failover", &self.id)?;
        let shown: Value = self.node.api()?.get(&format!("/v1/failovers/{}", self.id)).await?;
        if self.json {
            out::line(serde_json::to_string_pretty(&shown)?);
            return Ok(());
        }
        let (known, token) = record(shown)?;
        print(&known, token);
        Ok(())
    }
}

pub(super) fn print(known: &Record, token: i64) {
    let rehearsal = if known.rehearsal { " (rehearsal)" } else { "" };
    out::line(format_args!("{}{rehearsal}", known.id));
    let facts = [
        ("state", known.state.as_str().to_owned()),
        ("policy", format!("{} ({})", known.policy, known.mode.as_str())),
        ("about", known.about()),
        ("reason", known.reason.clone()),
        ("decided", time(known.decided_at)),
        ("finished", known.finished_at.map(time).unwrap_or_default()),
        ("candidate", known.candidate.clone().unwrap_or_default()),
        ("confirmed by", known.approved_by.clone().unwrap_or_default()),
        ("ended by", known.aborted_by.clone().unwrap_or_default()),
        ("outcome", known.outcome.clone()),
        ("incident", known.incident.clone()),
        ("fencing token", token.to_string()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        out::line(format_args!("{name:<14} {value}"));
    }
    if !known.guards.is_empty() {
        let mut rows = vec![["GUARD", "SAYS", "WHY"].map(str::to_owned).to_vec()];
        rows.extend(known.guards.iter().map(|guard| {
            let says = if guard.held { "held" } else { "pass" };
            vec![guard.guard.clone(), says.to_owned(), guard.why.clone()]
        }));
        out::line("");
        out::table(&rows);
    }
    let mut rows = vec![["STEP", "STATE", "MS", "DETAIL"].map(str::to_owned).to_vec()];
    for (at, step) in known.steps.iter().enumerate() {
        let took = step.started_at.zip(step.finished_at).map(|(from, to)| to - from);
        let took = took.map(|took| took.num_milliseconds().to_string()).unwrap_or_default();
        let state = state(step.state).to_owned();
        rows.push(vec![step.name.clone(), state, took, step.detail.clone()]);
        let attempts = known.attempts.iter().filter(|a| usize::try_from(a.step).ok() == Some(at));
        for (number, attempt) in attempts.enumerate() {
            let status = attempt.status.map(|s| s.to_string()).unwrap_or_default();
            let said = attempt.error.clone().unwrap_or(status);
            let name = format!("  attempt {}", number + 1);
            rows.push(vec![name, String::new(), format!("{:.0}", attempt.duration_ms), said]);
        }
    }
    if rows.len() > 1 {
        out::line("");
        out::table(&rows);
    }
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Skipped => "skipped",
        StepState::Undone => "undone",
    }
}
