//! Leases: none ends before the whole TTL has passed since its last confirmed renewal was asked for, none lives on
//! for long after nobody renews it, and its keys go in one revision.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    history::{History, Lease},
    truth::Truth,
};

/// By how much a key may outlive its lease when all members are well. Watchkeep promises a tenth of a second and the
/// revocation itself; the rest is for watchers and a busy machine.
pub(crate) const OUTLIVES_MAX: Duration = Duration::from_secs(2);

/// Judges every lease.
pub(crate) fn check(history: &History, truth: &Truth) -> Vec<String> {
    let mut seen: BTreeMap<&str, Duration> = BTreeMap::new();
    for batch in history.watches.iter().flat_map(|watch| &watch.batches) {
        for event in batch.events.iter().filter(|event| event.deleted) {
            let first = seen.entry(&event.kv.key).or_insert(batch.at);
            *first = batch.at.min(*first);
        }
    }
    let mut wrong = Vec::new();
    for lease in &history.leases {
        let gone = lease.keys.iter().filter_map(|key| seen.get(key.as_str())).copied().min();
        wrong.extend(early(lease, gone));
        wrong.extend(late(lease, gone, history.calm));
        wrong.extend(torn(lease, truth));
    }
    wrong
}

/// Whoever hears of the end hears of it after it happened: hearing of it too early is proof.
fn early(lease: &Lease, gone: Option<Duration>) -> Option<String> {
    let until = lease.promised.iter().max()?.saturating_add(lease.ttl);
    let heard = [gone, lease.gone].into_iter().flatten().min()?;
    let asked = lease.revoked.is_some_and(|revoked| revoked <= heard);
    (heard < until && !asked)
        .then(|| format!("ended at {heard:?}, promised until {until:?}: {lease:?}"))
}

fn late(lease: &Lease, gone: Option<Duration>, calm: Duration) -> Option<String> {
    // A new leader may give a lease its whole TTL again, and none can end one while there is no quorum.
    let last = lease.last_asked.max(calm) + lease.ttl + OUTLIVES_MAX;
    let lasts = gone.is_none_or(|gone| gone > last) && !lease.keys.is_empty();
    lasts.then(|| format!("should have ended by {last:?}, ended at {gone:?}: {lease:?}"))
}

fn torn(lease: &Lease, truth: &Truth) -> Option<String> {
    let ended: BTreeSet<i64> = truth
        .revisions()
        .flat_map(|(_, events)| events)
        .filter(|event| event.deleted && lease.keys.contains(&event.kv.key))
        .map(|event| event.kv.modified)
        .collect();
    (ended.len() > 1).then(|| format!("its keys went at revisions {ended:?}: {lease:?}"))
}
