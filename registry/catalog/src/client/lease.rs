//! Leases: granted, renewed and given back; and one that is kept alive in the background.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Code;
use tracing::{debug, warn};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, lease_client::LeaseClient,
};

use super::{ATTEMPT, Client, ClientError};

/// How long one endpoint may take to answer a renewal: a lease of a few seconds must survive an endpoint that hangs.
const RENEWAL: Duration = Duration::from_secs(1);

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
    /// Grants a lease of `ttl_seconds`.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn grant(&self, ttl_seconds: i64) -> Result<i64, ClientError> {
        let request = LeaseGrantRequest { ttl: ttl_seconds, id: 0 };
        let answer = self
            .retry("grant a lease", ATTEMPT, |channel| async move {
                LeaseClient::new(channel).lease_grant(request).await
            })
            .await?;
        Ok(answer.into_inner().id)
    }

    /// Renews a lease; answers with the seconds it has now, 0 when it is gone.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn keep_alive(&self, lease: i64) -> Result<i64, ClientError> {
        let what = format!("keep lease {lease:x} alive");
        self.retry(&what, RENEWAL, |channel| async move {
            let requests = tokio_stream::once(LeaseKeepAliveRequest { id: lease });
            let answers = LeaseClient::new(channel).lease_keep_alive(requests).await?;
            let answer = answers.into_inner().message().await?;
            answer.map(|a| a.ttl).ok_or_else(|| tonic::Status::unavailable("stream ended"))
        })
        .await
    }

    /// Gives a lease back: its keys are deleted at once. One that is gone already is no error.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn revoke(&self, lease: i64) -> Result<(), ClientError> {
        let request = LeaseRevokeRequest { id: lease };
        self.retry(&format!("revoke lease {lease:x}"), ATTEMPT, |channel| async move {
            match LeaseClient::new(channel).lease_revoke(request).await {
                Err(status) if status.code() == Code::NotFound => Ok(()),
                other => other.map(|_| ()),
            }
        })
        .await
    }

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
