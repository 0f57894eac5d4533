//! `watchkeep failover list | show | approve | abort | rehearse | replay | stop | resume | drains | undrain | roles | release`.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{Drain, Failover as Record, RoleHolder, StepState, Time, check_name};

use super::api::{Api, Node};
use crate::out;

mod replay;

/// Between two looks at a rehearsal.
const PAUSE: Duration = Duration::from_millis(200);

/// `watchkeep failover …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Failover {
    /// List failovers, the latest first
    List(List),
    /// One failover: guards, steps, attempts
    Show(Show),
    /// Confirm one that waits for it
    Approve(Act),
    /// End one before its next effect
    Abort(Act),
    /// Run a policy against an instance: guards on, callbacks told that it is a rehearsal, nothing else changed
    Rehearse(Rehearse),
    /// What a policy would have done over the history that a node has, and the downtime it would have saved
    Replay(replay::Replay),
    /// Stop all failovers: none begins, none goes on
    Stop(Stop),
    /// Let failovers happen again
    Resume(Resume),
    /// Instances that are left out of answers
    Drains(Asked),
    /// Leave an instance out of answers
    Drain(Drained),
    /// Take an instance in again
    Undrain(Undrain),
    /// Roles that failovers have given
    Roles(Asked),
    /// Let instances be what they say of themselves again
    Release(Release),
}

/// A node, and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    node: Node,
}

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

/// Which failover, and who does something about it.
#[derive(Debug, Args)]
pub(crate) struct Act {
    #[command(flatten)]
    node: Node,
    /// The failover
    id: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
}

/// Arguments of `watchkeep failover rehearse`.
#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    #[command(flatten)]
    node: Node,
    /// The policy
    policy: String,
    /// The instance that is to have failed: SERVICE/INSTANCE, or SERVICE as a whole
    target: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
    /// Longest wait for its end, in seconds; 0: none
    #[arg(long, default_value_t = 60)]
    wait: u64,
}

/// Arguments of `watchkeep failover stop`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    node: Node,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// Arguments of `watchkeep failover resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    node: Node,
}

/// Arguments of `watchkeep failover drain`.
#[derive(Debug, Args)]
pub(crate) struct Drained {
    #[command(flatten)]
    node: Node,
    /// SERVICE/INSTANCE
    target: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// Arguments of `watchkeep failover undrain`.
#[derive(Debug, Args)]
pub(crate) struct Undrain {
    #[command(flatten)]
    node: Node,
    /// SERVICE/INSTANCE
    target: String,
}

/// Arguments of `watchkeep failover release`.
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    node: Node,
    /// SERVICE/ROLE
    target: String,
}

#[derive(Debug, Deserialize)]
struct Failovers {
    failovers: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Drains {
    drains: Vec<Drain>,
}

#[derive(Debug, Deserialize)]
struct Roles {
    roles: Vec<RoleHolder>,
}

impl Failover {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Approve(act) => act.run("approve", "confirmed").await,
            Self::Abort(act) => act.run("abort", "is to end").await,
            Self::Rehearse(rehearse) => rehearse.run().await,
            Self::Replay(replay) => replay.run().await,
            Self::Stop(stop) => stop.run().await,
            Self::Resume(Resume { node }) => {
                node.api()?.call::<Value>(Method::DELETE, "/v1/failover-stop", None::<&()>).await?;
                out::line("failovers happen");
                Ok(())
            }
            Self::Drains(asked) => asked.drains().await,
            Self::Drain(drained) => drained.run().await,
            Self::Undrain(Undrain { node, target }) => {
                let path = format!("/v1/drains/{}", pair(&target)?);
                node.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
                out::line(format_args!("{target} is not drained any more"));
                Ok(())
            }
            Self::Roles(asked) => asked.roles().await,
            Self::Release(Release { node, target }) => {
                let path = format!("/v1/roles/{}", pair(&target)?);
                node.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
                out::line(format_args!("{target}: instances are what they say of themselves"));
                Ok(())
            }
        }
    }
}

/// Two names with a slash between them.
fn pair(text: &str) -> anyhow::Result<&str> {
    match text.split_once('/') {
        Some((one, two)) => {
            check_name("service", one)?;
            check_name("name", two)?;
            Ok(text)
        }
        None => bail!("{text:?}: write it as SERVICE/NAME"),
    }
}

fn time(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A record as the API shows it, beside its fencing token.
fn record(mut shown: Value) -> anyhow::Result<(Record, i64)> {
    let token = shown.as_object_mut().and_then(|object| object.remove("fencing_token"));
    Ok((serde_json::from_value(shown)?, token.and_then(|token| token.as_i64()).unwrap_or(0)))
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut query = Serializer::new(String::new());
        let filters =
            [("state", &self.state), ("service", &self.service), ("policy", &self.policy)];
        for (name, value) in filters {
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
        Ok(())
    }
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
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

fn print(known: &Record, token: i64) {
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

impl Act {
    async fn run(self, what: &str, done: &str) -> anyhow::Result<()> {
        check_name("failover", &self.id)?;
        let path = format!("/v1/failovers/{}/{what}", self.id);
        self.node.api()?.post::<Value>(&path, &json!({"by": self.by})).await?;
        out::line(format_args!("{} {done} by {}", self.id, self.by));
        Ok(())
    }
}

impl Rehearse {
    async fn run(self) -> anyhow::Result<()> {
        let (service, instance) = self.target.split_once('/').unwrap_or((&self.target, ""));
        let api: Api = self.node.api()?;
        let body =
            json!({"policy": self.policy, "service": service, "instance": instance, "by": self.by});
        let (mut known, mut token) = record(api.post("/v1/failovers/rehearsals", &body).await?)?;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.wait);
        while !known.state.is_over() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
            let path = format!("/v1/failovers/{}", known.id);
            (known, token) = record(api.get(&path).await?)?;
        }
        print(&known, token);
        Ok(())
    }
}

impl Stop {
    async fn run(self) -> anyhow::Result<()> {
        let body = json!({"by": self.by, "reason": self.reason});
        let api = self.node.api()?;
        api.call::<Value>(Method::PUT, "/v1/failover-stop", Some(&body)).await?;
        out::line(format_args!("failovers are stopped by {}", self.by));
        Ok(())
    }
}

impl Drained {
    async fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/drains/{}", pair(&self.target)?);
        let body = json!({"by": self.by, "reason": self.reason});
        self.node.api()?.call::<Value>(Method::PUT, &path, Some(&body)).await?;
        out::line(format_args!("{} is drained by {}", self.target, self.by));
        Ok(())
    }
}

impl Asked {
    async fn drains(self) -> anyhow::Result<()> {
        let answer: Drains = self.node.api()?.get("/v1/drains").await?;
        let mut rows = vec![["INSTANCE", "SINCE", "BY", "REASON"].map(str::to_owned).to_vec()];
        rows.extend(answer.drains.into_iter().map(|drain| {
            vec![
                format!("{}/{}", drain.service, drain.instance),
                time(drain.since),
                drain.by,
                drain.reason,
            ]
        }));
        out::table(&rows);
        Ok(())
    }

    async fn roles(self) -> anyhow::Result<()> {
        let answer: Roles = self.node.api()?.get("/v1/roles").await?;
        let mut rows = vec![["ROLE", "INSTANCE", "SINCE", "FAILOVER"].map(str::to_owned).to_vec()];
        rows.extend(answer.roles.into_iter().map(|holder| {
            let role = format!("{}/{}", holder.service, holder.role);
            vec![role, holder.instance, time(holder.since), holder.failover]
        }));
        out::table(&rows);
        Ok(())
    }
}
