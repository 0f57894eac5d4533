//! A lease that is kept alive in the background.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use super::{Client, ClientError};

/// A lease renewed every third of its TTL. Dropped, it is renewed no more and runs out by itself.
#[derive(Debug)]
pub struct HeldLease {
    client: Client,
    id: i64,
    lost: watch::Receiver<bool>,
    _stop: DropGuard,
}

impl HeldLease {
    /// Its id, for puts.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Resolves when the lease is gone, or must be taken for gone because it could not be renewed in time.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error means that the renewing task ended, which it does only when the lease is lost.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Gives it back: its keys vanish at once.
    ///
    /// # Errors
    /// When the registry does not answer; the lease then runs out by itself.
    pub async fn revoke(self) -> Result<(), ClientError> {
        self.client.revoke(self.id).await
    }
}

impl Client {
    /// Grants a lease and keeps it alive until the handle is dropped.
    ///
    /// # Errors
    /// When the registry does not grant it.
    pub async fn hold_lease(&self, ttl_seconds: i64) -> Result<HeldLease, ClientError> {
        // Counted from before the grant: never longer than the registry counts.
        let granted = Instant::now();
        let id = self.grant(ttl_seconds).await?;
        let (lost, receiver) = watch::channel(false);
        let stop = CancellationToken::new();
        let ttl = Duration::from_secs(ttl_seconds.max(1).unsigned_abs());
        let renewing = renew(self.clone(), id, ttl, granted);
        let stopped = stop.clone();
        tokio::spawn(async move {
            if stopped.run_until_cancelled(renewing).await.is_some() {
                let _ = lost.send(true);
            }
        });
        Ok(HeldLease { client: self.clone(), id, lost: receiver, _stop: stop.drop_guard() })
    }
}

/// Renews until the lease is gone or its time is over without an answer.
async fn renew(client: Client, id: i64, ttl: Duration, granted: Instant) {
    let mut ticks = tokio::time::interval(ttl / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut renewed = granted;
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        match tokio::time::timeout_at(renewed + ttl, client.keep_alive(id)).await {
            Ok(Ok(left)) if left > 0 => renewed = asked,
            Ok(Ok(_)) => {
                warn!(lease = %format_args!("{id:x}"), "lease is gone");
                return;
            }
            Ok(Err(error)) if !error.is_refusal() && renewed + ttl > Instant::now() => {
                debug!(%error, "lease not renewed yet");
            }
            Ok(Err(error)) => {
                warn!(%error, "lease lost");
                return;
            }
            Err(_) => {
                warn!(lease = %format_args!("{id:x}"), "lease not renewed within its time");
                return;
            }
        }
    }
}
