//! Multi-version state: pure. `apply` takes a command, the state as a [`View`] and the entry's place in the
//! log, and returns what to write, what to answer and which events happened. No I/O of its own, no clock, no
//! randomness: nodes that apply the same log are byte-equal.
//!
//! ```text
//! put a=1   latest a → {create 2, mod 2, version 1, "1"}                                 events (2,0) → put a
//! put a=2   latest a → {create 2, mod 3, version 2, "2"}   history (a,3) → {… mod 2 …}   events (3,0) → put a
//! del a     latest a → none                                history (a,4) → {… mod 3 …}   events (4,0) → delete a
//! put a=3   latest a → {create 5, mod 5, version 1, "3"}                                 events (5,0) → put a
//! ```
//!
//! A value lies in one row only: in `latest` while it stands, then in `history` under the revision that ended it. So a
//! row's key alone says whether a compaction forgets it: `history (a,3)` is needed for no revision from 3 on.

mod alarm;
mod apply;
mod compact;
mod draft;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hash;
mod keys;
mod lease;
mod members;
mod page;
mod range;
mod refusal;
mod txn;
mod view;

pub(crate) use alarm::{CORRUPT, NO_SPACE, alarms, refused_by};
pub(crate) use apply::{Effects, Place, apply};
pub(crate) use compact::forgettable;
pub(crate) use draft::Write;
pub(crate) use events::{changes, event, previous};
pub(crate) use hash::{Limits, hash_all, hash_events, hash_keys, hash_kv};
pub(crate) use keys::Bounds;
pub(crate) use lease::{lease_keys, leases};
pub(crate) use members::{last_member_id, members, membership_changed};
pub(crate) use page::{Page, Pages, count, page};
pub(crate) use range::range;
pub(crate) use refusal::Refusal;
pub(crate) use txn::{is_read_only, read_only};
pub(crate) use view::{
    ALARM, APPLIED, Item, LAST_MEMBER_ID, MEMBER, Table, View, ViewError, decode,
};

#[cfg(test)]
mod tests;
