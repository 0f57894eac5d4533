//! The Unix socket probe: good is what accepts a connection.

use std::{path::PathBuf, sync::Arc};

use tokio::net::UnixStream;
use watchkeep_catalog::UnixCheck;

use super::{Context, Phase, Stopwatch, connect::io_words};

#[derive(Debug)]
pub(super) struct UnixProbe {
    path: PathBuf,
}

impl UnixProbe {
    pub(super) fn new(check: &UnixCheck, context: &Arc<Context>) -> Result<Self, String> {
        Ok(Self { path: context.policy.socket(&check.path)? })
    }

    pub(super) async fn run(&self, watch: &mut Stopwatch) -> Result<String, String> {
        watch.enter(Phase::Connect);
        let connected = UnixStream::connect(&self.path).await;
        connected
            .map(|_closed_at_once| "connected".to_owned())
            .map_err(|e| format!("connect to {}: {}", self.path.display(), io_words(&e)))
    }
}
