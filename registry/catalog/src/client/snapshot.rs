//! A snapshot of the registry, as it comes.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::Streaming;
use watchkeep_api::etcdserverpb::{
    SnapshotRequest, SnapshotResponse, maintenance_client::MaintenanceClient,
};

use super::{Client, ClientError, no_answer};

/// How long one endpoint may take to begin.
const BEGIN: Duration = Duration::from_secs(10);
/// How long the next piece may take.
const PIECE: Duration = Duration::from_secs(60);

/// A snapshot under way, from one endpoint.
#[derive(Debug)]
pub struct Snapshot {
    client: Client,
    at: usize,
    pieces: Streaming<SnapshotResponse>,
}

impl Client {
    /// Begins to take a snapshot, from the first endpoint that gives one.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        let pieces = self
            .retry("snapshot", BEGIN, |channel| async move {
                let mut client =
                    MaintenanceClient::new(channel).max_decoding_message_size(usize::MAX);
                Ok(client.snapshot(SnapshotRequest {}).await?.into_inner())
            })
            .await?;
        let (at, _) = self.endpoints.current();
        Ok(Snapshot { client: self.clone(), at, pieces })
    }
}

impl Snapshot {
    /// The next piece, and about how many bytes follow; none behind the last.
    ///
    /// # Errors
    /// When the endpoint fails or gives nothing in time: what came so far is not a snapshot.
    pub async fn next(&mut self) -> Result<Option<(Bytes, u64)>, ClientError> {
        let next = timeout(PIECE, self.pieces.message()).await;
        let piece = next.unwrap_or_else(|_| Err(no_answer(PIECE)));
        let piece =
            piece.map_err(|status| self.client.endpoints.error(self.at, "snapshot", &status))?;
        Ok(piece.map(|piece| (piece.blob, piece.remaining_bytes)))
    }
}
