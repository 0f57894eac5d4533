//! One watcher on its stream: how far it is, and what it is shown of a change.

use std::sync::Arc;

use bytes::Bytes;
use watchkeep_api::etcdserverpb::WatchCreateRequest;

use super::wire;
use crate::{
    mvcc::{self, ViewError},
    schema::{Event, KeyValue},
    store::StoreView,
    watch::{Revision, Target},
};

/// Events in one response, and their bytes, beyond which the next revision goes into another: clients refuse messages
/// of more than 4 MiB unless told otherwise.
const EVENTS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

/// Why there is no watcher from a negative revision.
pub(super) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// A watcher.
pub(super) struct Watcher {
    pub(super) target: Arc<Target>,
    /// First revision that it has not been shown or spared.
    pub(super) next: i64,
    /// It has been shown everything before its mark; else it goes on at `next`.
    pub(super) synced: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    /// It wants to be told the revision when it is quiet.
    pub(super) progress: bool,
    /// Nothing has been sent to it since it was last told the revision, or could have been.
    pub(super) quiet: bool,
    /// Whose it is; what they may read is asked before anything is sent.
    pub(super) user: Arc<str>,
}

impl Watcher {
    /// It goes on at `next`; if it is `synced`, when it is marked.
    pub(super) fn move_to(&mut self, next: i64, synced: bool) {
        (self.next, self.synced) = (next, synced);
        self.target.set_behind(if synced { 0 } else { next });
    }

    /// Puts it on its stream's list again.
    pub(super) fn again(&self) {
        self.target.mark(self.next);
    }
}

/// What one response holds.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Bytes>,
    bytes: usize,
    /// The last revision in it.
    pub(super) last: Option<i64>,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX || self.bytes >= BYTES_MAX
    }

    /// Adds what `target` wants of a revision. `view` is asked for only when what was there before is wanted and nobody
    /// has looked it up yet.
    pub(super) fn add<'v>(
        &mut self,
        target: &Target,
        revision: &Revision,
        prev_kv: bool,
        mut view: impl FnMut() -> &'v StoreView,
    ) -> Result<(), ViewError> {
        for change in revision.changes.iter().filter(|c| target.interest.wants(&c.event)) {
            let event = change.wire(prev_kv, |event| {
                let before =
                    prev_kv.then(|| previous(view(), event, revision.number)).transpose()?;
                Ok::<_, ViewError>(wire::event(event, before.flatten()))
            })?;
            self.bytes += event.len();
            self.events.push(event);
        }
        self.last = Some(revision.number);
        Ok(())
    }
}

/// Why there is no such watcher (etcd: `recvLoop` in `v3rpc/watch.go`, `Watch` in `mvcc/watcher.go`).
pub(super) fn refusal(create: &WatchCreateRequest, taken: bool) -> Option<&'static str> {
    let (key, end) = (&create.key[..], &create.range_end[..]);
    if create.start_revision < 0 {
        Some(COMPACTED)
    } else if !end.is_empty() && end != b"\0" && key >= end {
        Some("mvcc: watcher range is empty")
    } else if taken {
        Some("mvcc: duplicate watch ID provided on the WatchStream")
    } else {
        None
    }
}

/// The key before the event; none when it was created by it, or when that is compacted.
fn previous(view: &StoreView, event: &Event, number: i64) -> Result<Option<KeyValue>, ViewError> {
    if !shows_previous(event, number, view.applied().compact_revision) {
        return Ok(None);
    }
    mvcc::previous(view, &event.kv.key, number)
}

/// Whether what was before an event may be told, not whether there was anything. It may not when it is compacted,
/// even though it may still be there for a while.
pub(super) fn shows_previous(event: &Event, number: i64, compacted: i64) -> bool {
    let is_create = !event.deleted && event.kv.create_revision == number;
    !is_create && number > compacted
}
