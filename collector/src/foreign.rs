//! Registrations in shapes that are not ours: what a service writes for its own clients under some prefix of the
//! registry is mirrored as an [`Instance`](watchkeep_catalog::Instance), so that it is probed and found like any other.
//!
//! ```text
//! /grpc/web/10.0.0.1:80  {"Addr":"10.0.0.1:80"}  under lease 7      (the service's own, untouched)
//!   └─▶ /watchkeep/instances/web/10.0.0.1-80     under lease 7      (marked: watchkeep.foreign)
//! ```
//!
//! The mirrored key lies under the lease of the original: both go at the same moment, whoever is alive. Every collector
//! mirrors; each write is conditional on what it was decided upon, so all of them together do what one would.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use watchkeep_catalog::{
    Client, ClientError,
    client::{Change, Changes, Compare, Op, Txn},
    keys,
};

mod config;
mod mirror;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use config::validate;
pub use config::{ForeignConfig, Format};
use mirror::{Mirror, Step};

use crate::metrics::Metrics;

/// After a write that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Changes of all prefixes that wait; beyond it the watches wait.
const CHANGES_MAX: usize = 1024;
/// Values shown that cannot be taken, for each prefix.
const SHOWN_MAX: usize = 100;

/// What is mirrored, for people. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ForeignState(Arc<Mutex<Vec<PrefixState>>>);

/// One prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrefixState {
    /// The prefix.
    pub prefix: String,
    /// Keys that are instances.
    pub instances: usize,
    /// Keys that are not taken.
    pub invalid: usize,
    /// The first of them, and why.
    pub problems: BTreeMap<String, String>,
}

impl ForeignState {
    /// Every prefix, as it was a moment ago.
    #[must_use]
    pub fn prefixes(&self) -> Vec<PrefixState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, now: Vec<PrefixState>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Whose change it is: a prefix's place in the configuration, or the instances'.
type Told = (Option<usize>, Change);

/// Mirrors until `stop`.
pub(crate) async fn run(
    configs: Vec<ForeignConfig>,
    client: Client,
    metrics: Metrics,
    state: ForeignState,
    stop: CancellationToken,
) {
    if configs.is_empty() {
        return;
    }
    let (sender, mut told) = mpsc::channel(CHANGES_MAX);
    let followed = configs.iter().map(|config| config.prefix.as_str()).enumerate();
    let followed = followed.map(|(at, prefix)| (Some(at), prefix));
    for (whose, prefix) in followed.chain([(None, keys::INSTANCES)]) {
        tokio::spawn(pass_on(client.follow(prefix), whose, sender.clone()));
    }
    drop(sender);
    let mut mirror = Mirror::new(configs);
    let mirroring = async {
        while let Some((whose, change)) = told.recv().await {
            mirror.apply(whose, change);
            // What has arrived together is decided together.
            while let Ok((whose, change)) = told.try_recv() {
                mirror.apply(whose, change);
            }
            for (key, message) in mirror.take_news() {
                warn!(key, message, "a foreign registration is not taken");
            }
            loop {
                let steps = mirror.plan();
                let failed = write_all(&client, &steps).await;
                show(&mirror, &metrics, &state);
                if failed.is_empty() {
                    break;
                }
                mirror.again(failed);
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    stop.run_until_cancelled(mirroring).await;
}

async fn pass_on(mut changes: Changes, whose: Option<usize>, told: mpsc::Sender<Told>) {
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = told.closed() => None,
        };
        let Some(change) = change else { return };
        if told.send((whose, change)).await.is_err() {
            return;
        }
    }
}

/// Writes; answers with the foreign keys whose step has to be tried again.
async fn write_all(client: &Client, steps: &[Step]) -> Vec<String> {
    let mut failed = Vec::new();
    for step in steps {
        if let Err(error) = write(client, step).await {
            // A refusal is most often a lease that has just run out: the watch will tell.
            if error.is_refusal() {
                warn!(%error, key = step.foreign, "a foreign registration is not mirrored");
            } else {
                failed.push(step.foreign.clone());
            }
        }
    }
    failed
}

async fn write(client: &Client, step: &Step) -> Result<(), ClientError> {
    // Whoever has changed either key since will be told of it, and decides anew.
    let txn = Txn::new()
        .when(Compare::mod_revision(&step.foreign, step.foreign_revision))
        .when(Compare::mod_revision(&step.instance, step.instance_revision));
    let op = match &step.put {
        Some((value, lease)) => Op::put(&step.instance, value.clone(), *lease),
        None => Op::delete(&step.instance),
    };
    client.txn(txn.then(op)).await.map(drop)
}

fn show(mirror: &Mirror, metrics: &Metrics, state: &ForeignState) {
    let now = mirror.state(SHOWN_MAX);
    for prefix in &now {
        metrics.foreign(&prefix.prefix, prefix.instances, prefix.invalid);
    }
    state.show(now);
}
