//! Makes probers of modules and targets, and keeps those that are asked for again and again: patterns are compiled
//! once, not at each scrape.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{config::Module, page::Reach};
use crate::probe::{Context, Outcome, Prober};

/// Probers that are kept; when there are more, all are made anew.
const KEPT_MAX: usize = 10_000;
/// How long one is kept: after it, files that the module names are read again.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Module, target, host name and timeout in milliseconds.
type Key = (String, String, String, u128);

#[derive(Debug)]
pub(super) struct Desk {
    context: Arc<Context>,
    kept: Mutex<HashMap<Key, (Instant, Arc<Prober>)>>,
}

impl Desk {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, kept: Mutex::default() }
    }

    /// Probes `target` by a module with its name, for no longer than `within`.
    pub(super) async fn probe(
        &self,
        (name, module): (&str, &Module),
        target: &str,
        hostname: Option<&str>,
        within: Duration,
        debug: bool,
    ) -> (Reach, Outcome) {
        let host = hostname.unwrap_or_default();
        let key = (name.to_owned(), target.to_owned(), host.to_owned(), within.as_millis());
        let prober = match self.kept(&key) {
            Some(prober) => prober,
            None => match self.make(module, target, hostname, within) {
                Ok(prober) => self.keep(key, prober),
                Err(reason) => return (Reach::Nothing, Outcome::never(&reason)),
            },
        };
        let outcome = if debug { prober.run_by_hand().await } else { prober.run().await };
        (Reach::Asked, outcome)
    }

    fn make(
        &self,
        module: &Module,
        target: &str,
        hostname: Option<&str>,
        within: Duration,
    ) -> Result<Prober, String> {
        let aimed = module.aim(target, hostname, within)?;
        aimed.check.validate().map_err(|error| error.to_string())?;
        Prober::of(&aimed.address, aimed.port, &aimed.check, &self.context)
    }

    fn kept(&self, key: &Key) -> Option<Arc<Prober>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, prober) = kept.get(key)?;
        (made.elapsed() < KEPT_FOR).then(|| prober.clone())
    }

    fn keep(&self, key: Key, prober: Prober) -> Arc<Prober> {
        let prober = Arc::new(prober);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), prober.clone()));
        prober
    }
}
