//! The mirror: what the registry holds of alerts, kept on the board by one watch; and whether the registry is there.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use watchkeep_catalog::keys;

use super::{intake, shared::Shared};
use crate::clock;

/// How often it is asked whether the registry is there, and how long an answer may take.
const BEAT: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_millis(1_500);

/// Follows until `token` is cancelled.
pub(crate) async fn follow(shared: Arc<Shared>, token: CancellationToken) {
    // One prefix holds the alerts and the leader's key: whoever sees its own election has seen what was told before.
    let mut batches = shared.client.follow_batches(keys::ALERT);
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

/// Asks for the registry again and again; it is lost when it was silent for `lost_after`.
pub(crate) async fn heed(shared: Arc<Shared>, lost_after: Duration, token: CancellationToken) {
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(BEAT) => {}
        }
        let asked = shared.client.get(keys::ALERTING_LEADER);
        let answered = matches!(tokio::time::timeout(ANSWER_MAX, asked).await, Ok(Ok(_)));
        if answered {
            heard = Instant::now();
        }
        let lost = heard.elapsed() >= lost_after;
        if shared.set_lost(lost) {
            shared.metrics.registry_lost.set(i64::from(lost));
            match lost {
                true => {
                    warn!("the registry is lost: this node tells people by itself what it knows")
                }
                false => {
                    info!("the registry is back");
                    shared.paged_alone().clear();
                }
            }
            shared.wake.notify_one();
        }
        if answered {
            intake::save(&shared).await;
        }
    }
}
