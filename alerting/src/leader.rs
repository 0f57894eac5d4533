//! Membership and election, both under one lease: a node that cannot renew it is neither member nor leader.
//!
//! Who leads is the key [`keys::ALERTING_LEADER`]; its create revision is the term, and every decision's
//! transaction compares it. So a leader that does not know yet that it is deposed can write nothing.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use watchkeep_catalog::{
    Client, ClientError, KeyValue, Member,
    client::{Change, Compare, HeldLease, Op, Txn},
    keys,
};

use crate::{clock, metrics::Metrics};

/// Pause after the registry did not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the same reason is not said again.
const QUIET: Duration = Duration::from_secs(30);

/// Longest wait for the registry to take a lease back at the end.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);

/// The term this node leads in: the leader key's create revision; none while it does not lead.
pub(crate) type Term = Option<i64>;

pub(crate) struct Election {
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) ttl_seconds: i64,
    pub(crate) term: watch::Sender<Term>,
    pub(crate) metrics: Metrics,
}

impl Election {
    /// Takes part until `token` is cancelled, then gives the lease back.
    pub(crate) async fn run(&self, token: &CancellationToken) {
        let _step_down = StepDown(self);
        let mut said: Option<(String, Instant)> = None;
        while !token.is_cancelled() {
            let lease = tokio::select! {
                lease = self.client.hold_lease(self.ttl_seconds) => lease,
                () = token.cancelled() => return,
            };
            let result = match lease {
                Ok(lease) => self.hold_office(lease, token).await,
                Err(error) => Err(error),
            };
            self.set_term(None);
            if let Err(error) = result {
                let reason = error.to_string();
                match &said {
                    Some((same, at)) if *same == reason && at.elapsed() < QUIET => {}
                    _ => {
                        warn!(error = reason, "alerting is not a member; trying on");
                        said = Some((reason, Instant::now()));
                    }
                }
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = token.cancelled() => {}
                }
            }
        }
    }

    /// One lease: a member from its start to its end, a leader whenever the office is free.
    async fn hold_office(
        &self,
        lease: HeldLease,
        token: &CancellationToken,
    ) -> Result<(), ClientError> {
        let started_at = clock::now();
        let member = Member { id: self.id.clone(), url: self.url.clone(), started_at };
        self.client.put_json(&keys::alerting_member(&self.id), &member, lease.id()).await?;
        let mut changes = self.client.follow(keys::ALERTING_LEADER);
        // The revision of the latest news: what is older is on its way still.
        let mut seen = 0;
        loop {
            let change = tokio::select! {
                () = token.cancelled() => return self.resign(lease).await,
                () = lease.lost() => return Ok(()),
                change = changes.recv() => change,
            };
            let Some(change) = change else { return Ok(()) };
            let Some((holder, revision)) = news(change) else { continue };
            if revision < seen {
                continue;
            }
            let holder = match holder {
                Some(holder) => Some(holder),
                None => {
                    self.set_term(None);
                    self.campaign(&member, &lease).await?
                }
            };
            if let Some(holder) = holder {
                if holder.create_revision > seen {
                    self.metrics.leader_changes.inc();
                }
                seen = holder.mod_revision;
                let mine = holder.lease == lease.id();
                self.set_term(mine.then_some(holder.create_revision));
            }
        }
    }

    /// Takes the office if it is free; answers with who holds it then.
    async fn campaign(
        &self,
        member: &Member,
        lease: &HeldLease,
    ) -> Result<Option<KeyValue>, ClientError> {
        let key = keys::ALERTING_LEADER;
        let value = serde_json::to_vec(member)
            .map_err(|e| ClientError::Encode { key: key.to_owned(), message: e.to_string() })?;
        let take = Op::put(key, value, lease.id());
        let outcome =
            self.client.txn(Txn::new().when(Compare::create_revision(key, 0)).then(take)).await;
        // Whether it won or lost, and also when the answer is lost, the key says who holds the office.
        let holder = self.client.get(key).await?;
        if holder.is_none() {
            outcome?;
        }
        Ok(holder)
    }

    /// Steps down and gives the lease back, so that the next leader need not wait for its end.
    async fn resign(&self, lease: HeldLease) -> Result<(), ClientError> {
        self.set_term(None);
        match tokio::time::timeout(RESIGN_TIMEOUT, lease.revoke()).await {
            Ok(result) => result,
            // The registry is gone too: the lease runs out by itself.
            Err(_) => Ok(()),
        }
    }

    fn set_term(&self, term: Term) {
        let changed = self.term.send_if_modified(|now| std::mem::replace(now, term) != term);
        self.metrics.is_leader.set(i64::from(term.is_some()));
        match term {
            Some(revision) if changed => info!(revision, id = self.id, "this node leads alerting"),
            None if changed => info!(id = self.id, "this node does not lead alerting any more"),
            _ => {}
        }
    }
}

/// Who holds the office according to a change, and as of which revision; none when it is about another key.
fn news(change: Change) -> Option<(Option<KeyValue>, i64)> {
    let is_office = |key: &str| key == keys::ALERTING_LEADER;
    match change {
        Change::Reset(kvs, revision) => {
            Some((kvs.into_iter().find(|kv| is_office(&kv.key)), revision))
        }
        Change::Put(kv) if is_office(&kv.key) => Some((Some(kv.clone()), kv.mod_revision)),
        Change::Delete { key, revision } if is_office(&key) => Some((None, revision)),
        Change::Put(_) | Change::Delete { .. } => None,
    }
}

/// Steps down however the election ends, also when its task is dropped.
struct StepDown<'a>(&'a Election);

impl Drop for StepDown<'_> {
    fn drop(&mut self) {
        self.0.set_term(None);
    }
}
