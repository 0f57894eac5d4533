//! The TCP probe: good is what accepts a connection.

use super::{Endpoint, Stopwatch};

#[derive(Debug)]
pub(super) struct TcpProbe;

impl TcpProbe {
    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        endpoint.connect(watch).await.map(|_closed_at_once| "connected".to_owned())
    }
}
