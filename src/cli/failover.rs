//! `watchkeep failover list | show | approve | abort | rehearse | replay | stop | resume | drains | drain | undrain | roles | release`.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use watchkeep_catalog::{Time, check_name};

use super::api::{Api, Node};
use crate::out;

mod moved;
mod replay;
mod show;

use moved::{Asked, Drained, Drains, Release, Undrain};
use show::{List, Show, print, record};

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
    Drains(Drains),
    /// Leave an instance out of answers
    Drain(Drained),
    /// Take an instance in again
    Undrain(Undrain),
    /// Roles that failovers have given
    Roles(Asked),
    /// Let instances be what they say of themselves again
    Release(Release),
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
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400))]
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
            Self::Drains(drains) => drains.run().await,
            Self::Drain(drained) => drained.run().await,
            Self::Undrain(undrain) => undrain.run().await,
            Self::Roles(asked) => asked.roles().await,
            Self::Release(release) => release.run().await,
        }
    }
}

fn time(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(subcommand)]
        failover: Failover,
    }

    #[test]
    fn nobody_waits_for_ever() {
        let parse = |wait: &str| {
            Command::try_parse_from(["x", "rehearse", "p", "db/one", "--by", "a", "--wait", wait])
        };
        let Failover::Rehearse(rehearse) = parse("86400").expect("a day").failover else {
            panic!("it is a rehearsal");
        };
        assert_eq!(rehearse.wait, 86_400);
        let refused = parse("18446744073709551615").expect_err("refused");
        assert!(refused.to_string().contains("86400"), "{refused}");
    }
}
