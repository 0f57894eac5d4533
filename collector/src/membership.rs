//! The collector's lease: held while it runs, replaced when it is lost.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Span, info, warn};
use watchkeep_catalog::{Client, Collector as Record, client::HeldLease, keys};

use crate::{metrics::Metrics, publish::Publisher};

/// Pause after a lease was not granted.
const PAUSE: Duration = Duration::from_millis(200);

/// Registers the collector and holds its lease until `stop`; then gives it back, so that its opinions and its
/// registration vanish at once.
pub(crate) async fn hold(
    client: Client,
    publisher: Publisher,
    metrics: Metrics,
    record: Record,
    ttl_seconds: i64,
    stop: CancellationToken,
) {
    let value = serde_json::to_vec(&record).map(Bytes::from);
    // A record of strings and a time always has a JSON form.
    publisher.put(&keys::collector(&record.id), value.unwrap_or_default(), Span::none());
    loop {
        let granted = stop.run_until_cancelled(grant(&client, ttl_seconds)).await;
        let Some(lease) = granted else { return };
        metrics.lease_changes.inc();
        publisher.leased(lease.id());
        let cancelled = tokio::select! {
            () = stop.cancelled() => true,
            () = lease.lost() => false,
            () = publisher.refused(lease.id()) => false,
        };
        publisher.unleased();
        if cancelled {
            if let Err(error) = lease.revoke().await {
                info!(%error, "lease not given back: it runs out by itself");
            }
            return;
        }
        warn!("the collector's lease is lost: all opinions are written again under a new one");
    }
}

/// Asks for a lease until it is granted.
async fn grant(client: &Client, ttl_seconds: i64) -> HeldLease {
    let mut failing = false;
    loop {
        match client.hold_lease(ttl_seconds).await {
            Ok(lease) => return lease,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "no lease for the collector yet");
                }
                sleep(PAUSE).await;
            }
        }
    }
}
