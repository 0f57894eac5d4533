//! TLS of the two listeners. Clients may show a certificate, or must; members must, and theirs has to be one for a member.
//! A connection that is not let in is counted, and its reason stands in the log.

mod door;
mod member;
pub(crate) mod remarks;

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use watchkeep_api::tls::{ClientTls, TlsError};

pub(crate) use door::Door;

use crate::{
    config::{Invalid, PeerTlsConfig, RegistryConfig, TlsConfig},
    error::StartError,
    metrics::Metrics,
};

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a member needs of TLS.
pub(crate) struct Tls {
    /// The client listener's; none: it is plain.
    pub(crate) clients: Option<Door>,
    /// The peer listener's; none: it is plain.
    pub(crate) peers: Option<Door>,
    /// For connections to other members.
    pub(crate) to_peers: Option<ClientTls>,
}

impl Tls {
    /// Reads all files. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn load(config: &RegistryConfig) -> Result<Self, Vec<Invalid>> {
        let mut invalid = Vec::new();
        let clients = config.tls.as_ref().map(|tls| {
            (Door::of_clients(tls.files(), tls.client_cert_auth), TlsConfig::blame as Blame)
        });
        let peers = config
            .peer_tls
            .as_ref()
            .map(|tls| (Door::of_peers(tls.files()), PeerTlsConfig::blame as Blame));
        let to_peers = config
            .peer_tls
            .as_ref()
            .map(|tls| (ClientTls::load(&tls.files()), PeerTlsConfig::blame as Blame));
        let tls = Self {
            clients: good(clients, &mut invalid),
            peers: good(peers, &mut invalid),
            to_peers: good(to_peers, &mut invalid),
        };
        invalid.dedup();
        if invalid.is_empty() { Ok(tls) } else { Err(invalid) }
    }

    /// The same, off the threads that keep time.
    pub(crate) async fn open(config: &RegistryConfig) -> Result<Self, StartError> {
        let config = config.clone();
        let loaded = tokio::task::spawn_blocking(move || Self::load(&config)).await;
        loaded.map_err(StartError::state)?.map_err(StartError::Config)
    }
}

/// Names the setting behind an error.
type Blame = fn(&TlsError) -> Invalid;

fn good<T>(loaded: Option<(Result<T, TlsError>, Blame)>, invalid: &mut Vec<Invalid>) -> Option<T> {
    let (loaded, blame) = loaded?;
    loaded.map_err(|error| invalid.push(blame(&error))).ok()
}

/// Looks at the files of these listeners for as long as the member runs.
pub(crate) async fn keep_fresh(doors: Vec<Arc<Door>>, metrics: Arc<Metrics>) {
    for door in &doors {
        metrics.tls_expiry(door.name(), door.not_after_seconds());
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for door in &doors {
            let (looked, listener) = (Arc::clone(door), door.name());
            // Reading files blocks; a task that does not end in order has read nothing.
            let Ok(looked) = tokio::task::spawn_blocking(move || looked.refresh()).await else {
                continue;
            };
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    info!(listener, "certificates read anew");
                    metrics.tls_reloads.with_label_values(&[listener, "taken"]).inc();
                    metrics.tls_expiry(listener, door.not_after_seconds());
                }
                Err(error) => {
                    warn!(listener, %error, "certificates not read anew; the former ones stay");
                    metrics.tls_reloads.with_label_values(&[listener, "refused"]).inc();
                }
            }
        }
    }
}
