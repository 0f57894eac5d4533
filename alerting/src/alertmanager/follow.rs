//! The mirror: what the registry holds of alerts, kept on the board by one watch.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use watchkeep_catalog::keys;

use super::shared::Shared;
use crate::clock;

/// Follows until `token` is cancelled.
pub(crate) async fn follow(shared: Arc<Shared>, token: CancellationToken) {
    // One prefix holds the alerts and the leader's key: whoever sees its own election has seen what was told before.
    let mut batches = shared.client.follow_shared(|key| key.starts_with(keys::ALERT));
    loop {
        let batch = tokio::select! {
            () = token.cancelled() => return,
            batch = batches.recv() => batch,
        };
        let Some(batch) = batch else { return };
        let now = clock::now();
        {
            let mut board = shared.board_mut();
            for change in batch.changes {
                for error in board.apply(change, now) {
                    warn!(error, "a record cannot be read and is ignored");
                }
            }
            board.revision = board.revision.max(batch.revision);
        }
        shared.wake.notify_one();
    }
}
