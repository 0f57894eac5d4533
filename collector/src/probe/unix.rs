//! The Unix socket probe: good is what accepts a connection.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixStream, time::sleep};
use watchkeep_catalog::UnixCheck;

use super::{Context, Phase, Stopwatch, connect::io_words};

/// Between two tries while the backlog is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct UnixProbe {
    path: PathBuf,
}

impl UnixProbe {
    pub(super) fn new(check: &UnixCheck, context: &Arc<Context>) -> Result<Self, String> {
        Ok(Self { path: context.policy.socket(&check.path)? })
    }

    pub(super) async fn run(&self, watch: &mut Stopwatch) -> Result<String, String> {
        connect(&self.path, watch).await.map(|_closed_at_once| "connected".to_owned())
    }
}

/// Connects. Linux refuses at once where the backlog is full: that is waited for, as TCP does.
pub(super) async fn connect(path: &Path, watch: &mut Stopwatch) -> Result<UnixStream, String> {
    watch.enter(Phase::Connect);
    let name = path.display().to_string();
    watch.turn_to(name.clone(), name);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(BACKLOG_PAUSE).await,
            done => {
                return done
                    .map_err(|e| format!("connect to {}: {}", path.display(), io_words(&e)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
