//! The TCP probe: good is what accepts a connection.

use std::sync::Arc;

use watchkeep_catalog::TcpCheck;

use super::{Context, Endpoint, Stopwatch};

#[derive(Debug)]
pub(super) struct TcpProbe;

impl TcpProbe {
    pub(super) fn new(
        _endpoint: &Endpoint,
        _check: &TcpCheck,
        _context: &Arc<Context>,
    ) -> Result<Self, String> {
        Ok(Self)
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        endpoint.connect(watch).await.map(|_closed_at_once| "connected".to_owned())
    }
}
