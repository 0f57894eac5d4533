//! `watchkeep serve`: reads the configuration, then hands over to [`crate::compose`].

use std::{io::Read, path::PathBuf, thread};

use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use crate::{
    compose,
    config::{self, Flags, Role},
    telemetry,
};

/// Arguments of `watchkeep serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration; without one, defaults and flags are all there is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// End when standard input does, so that no child outlives its parent
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT, or until a room fails.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (config, remarks) = config::load_with_remarks(self.config.as_deref(), &self.flags)?;
        let alertmanager = &self.flags.alertmanager;
        let telemetry =
            telemetry::start(&config.telemetry, &config.node.name, alertmanager.logged())?;
        for (flag, instead) in alertmanager.unused() {
            tracing::warn!(flag, instead, "a flag of Alertmanager's that means nothing here");
        }
        for remark in remarks {
            tracing::warn!("{remark}");
        }
        hear_hangups(config.runs(Role::Alerting))?;
        let stop = stop_token(self.until_stdin_closes)?;
        let served = compose::serve(&config, stop).await;
        telemetry.flush().await;
        served
    }
}

/// SIGHUP ends nobody. Role alerting reads its files again; elsewhere there is nothing to be read again.
fn hear_hangups(reloads: bool) -> std::io::Result<()> {
    // Whoever has asked for a signal once is never ended by it any more.
    let mut hangups = signal(SignalKind::hangup())?;
    if !reloads {
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                tracing::info!(
                    "SIGHUP: nothing is read again here; new certificates are taken up by themselves, the configuration \
                     with the next start"
                );
            }
        });
    }
    Ok(())
}

/// A token that SIGTERM and SIGINT cancel, and the end of standard input if asked for.
pub(crate) fn stop_token(until_stdin_closes: bool) -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = stdin_closed(), if until_stdin_closes => {}
        }
        token.cancel();
    });
    Ok(stop)
}

/// Resolves at the end of standard input. It is read on a thread of its own, which nobody has to wait for.
async fn stdin_closed() {
    let (closed, ended) = oneshot::channel::<()>();
    thread::spawn(move || {
        let mut ignored = [0; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        drop(closed);
    });
    // The channel is closed when the thread is done.
    let _ = ended.await;
}
