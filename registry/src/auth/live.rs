//! Users and roles of a running member: the tables as the log has made them, the tokens, and the answer to "may
//! they?". As long as users are not checked, each question costs the load of one flag.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use tokio::{sync::watch, time::Instant};

use super::{grants::Grants, metrics::AuthMetrics, password::Passwords, tables::Tables};
use crate::mvcc::{Refusal, View, ViewError};

mod apply;
mod check;
mod provider;
mod who;

pub(crate) use provider::{Provider, ProviderError};

/// Why somebody may not, or is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// As the state machine says it.
    Refused(Refusal),
    /// The token is none, or its time is over.
    InvalidToken,
    /// A snapshot is replacing this member's state.
    Replaced,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Users are not checked.
const OFF: u8 = 0;
/// Users are checked.
const ON: u8 = 1;
/// A snapshot replaces the state: who may what is not known.
const REPLACED: u8 = 2;

/// Users and roles of a running member.
pub(crate) struct Auth {
    /// [`OFF`], [`ON`] or [`REPLACED`].
    mode: AtomicU8,
    revision: AtomicU64,
    tables: RwLock<Arc<Tables>>,
    /// Tells when the revision changes.
    changes: watch::Sender<u64>,
    provider: Provider,
    passwords: Passwords,
    metrics: AuthMetrics,
}

impl Auth {
    pub(crate) fn new(
        tables: Tables,
        provider: Provider,
        passwords: Passwords,
        metrics: AuthMetrics,
    ) -> Self {
        let auth = Self {
            mode: AtomicU8::new(REPLACED),
            revision: AtomicU64::new(0),
            tables: RwLock::default(),
            changes: watch::Sender::new(0),
            provider,
            passwords,
            metrics,
        };
        auth.publish(Arc::new(tables));
        auth
    }

    /// Whether a request has to be looked at: users are checked, or a snapshot replaces them.
    pub(crate) fn enabled(&self) -> bool {
        self.mode.load(Ordering::Acquire) != OFF
    }

    fn is_replaced(&self) -> bool {
        self.mode.load(Ordering::Acquire) == REPLACED
    }

    /// Users and roles as this member knows them.
    pub(crate) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often users and roles have changed.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn metrics(&self) -> &AuthMetrics {
        &self.metrics
    }

    /// Makes new tables known, before anything that comes after them in the log can be read.
    fn publish(&self, tables: Arc<Tables>) {
        let (enabled, revision) = (tables.enabled(), tables.revision());
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = tables;
        self.revision.store(revision, Ordering::Release);
        self.mode.store(if enabled { ON } else { OFF }, Ordering::Release);
        self.metrics.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.metrics.enabled.set(i64::from(enabled));
        self.changes.send_replace(revision);
    }

    /// A snapshot is about to replace the state: until [`Self::reset`] nothing is shown to anybody.
    pub(crate) fn replace(&self) {
        self.mode.store(REPLACED, Ordering::Release);
    }

    /// The state was replaced by a snapshot: nobody is known by what came before it.
    pub(crate) fn reset(&self, view: &impl View) -> Result<(), ViewError> {
        let tables = Tables::load(view)?;
        if let Provider::Simple(tokens) = &self.provider {
            tokens.clear();
        }
        self.publish(Arc::new(tables));
        Ok(())
    }

    /// What a user may do who called at a revision (etcd: `isOpPermitted`).
    fn known<'t>(
        &self,
        tables: &'t Tables,
        user: &str,
        revision: u64,
    ) -> Result<&'t Grants, Refusal> {
        if user.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        if revision < tables.revision() {
            return Err(Refusal::AuthOldRevision);
        }
        tables.grants(user).ok_or(Refusal::PermissionDenied)
    }

    /// Shows how many simple tokens are known, and forgets those whose time is over.
    pub(crate) fn refresh_metrics(&self) {
        if let Provider::Simple(tokens) = &self.provider {
            let count = tokens.count(Instant::now());
            self.metrics.tokens.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn counted(&self, verdict: Result<(), Denied>) -> Result<(), Denied> {
        if let Err(denied) = verdict {
            self.metrics.refused(denied);
        }
        verdict
    }
}
