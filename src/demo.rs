//! `watchkeep demo`: the whole job once, on real processes, with a stopwatch.
//!
//! Three nodes, a primary and its standby, a mail server and a webhook. The primary is killed, then the
//! registry's leader. Every line of the timeline comes from a record of Watchkeep or from the clock of whoever
//! received something; a step that does not happen in time ends the demo with its name.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use tokio::net::TcpListener;

use crate::{cli::stop_token, out};

mod cluster;
mod report;
mod scene;
mod service;
mod setting;
mod smtp;
mod timeline;
mod wait;
mod webhook;

pub(crate) use service::DemoService;

/// Arguments of `watchkeep demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the directory with configurations, logs and data
    #[arg(long)]
    keep: bool,
}

impl Demo {
    /// Plays the demo; every child is gone afterwards, however it ends.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let dir = std::env::temp_dir().join(format!("watchkeep-demo-{}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let stop = stop_token(false)?;
        let played = tokio::select! {
            played = play(dir.clone()) => played,
            () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
        };
        if played.is_err() || self.keep {
            let kept = format!("configurations, logs and data are in {}", dir.display());
            out::line(&kept);
            return played;
        }
        std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
    }
}

async fn play(dir: PathBuf) -> anyhow::Result<()> {
    let mail = TcpListener::bind("127.0.0.1:0").await?;
    let hook = TcpListener::bind("127.0.0.1:0").await?;
    let (smtp_port, hook_port) = (mail.local_addr()?.port(), hook.local_addr()?.port());
    let (mails, pages) = (smtp::Mails::default(), webhook::Deliveries::default());
    let sinks = (smtp::serve(mail, mails.clone()), webhook::serve(hook, pages.clone()));
    out::line("starting a primary, a standby, a mail server, a webhook receiver and three nodes");
    let scene = async {
        let primary = setting::Server::start("db-1", "primary").await?;
        let standby = setting::Server::start("db-2", "standby").await?;
        let template = setting::config(smtp_port, hook_port, &standby)?;
        let nodes = cluster::start(&dir, 3, &template)?;
        scene::Scene { nodes, primary, standby, mails, pages }.play().await
    };
    tokio::select! {
        played = scene => played,
        ((), served) = async { tokio::join!(sinks.0, sinks.1) } => {
            served?;
            anyhow::bail!("the demo's mail server ended")
        }
    }
}

/// Now, as the demo's own clock has it.
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Longest wait for anything that is not measured against a promise.
const PATIENCE: Duration = Duration::from_secs(30);
