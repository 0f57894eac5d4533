//! How the log of a restored cluster begins: as if its first entries, the members, had been applied and purged long ago.
//! So a member that comes without data gets the state by a snapshot, never a log that begins at nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use openraft::{Membership, storage::RaftLogStorage};

use super::{
    machine::log_id,
    types::{Peer, StoredMembership, TypeConfig},
};
use crate::{schema::Applied, wal::LogStore};

/// Index of the last entry that is purged.
const INDEX: u64 = 1;

/// Sets the state at the beginning of a new log, with these members (id → address), all of them voters.
pub(crate) fn at_beginning(
    applied: Applied,
    members: &BTreeMap<u64, String>,
) -> Result<Applied, io::Error> {
    // Term 0 and no leader: as the first entry of every cluster has it.
    let mut applied = Applied { index: INDEX, term: 0, leader: 0, any: true, ..applied };
    let voters: BTreeSet<u64> = members.keys().copied().collect();
    let nodes: BTreeMap<u64, Peer> =
        members.iter().map(|(id, address)| (*id, Peer::at(address))).collect();
    let membership: Membership<u64, Peer> =
        Membership::new(vec![voters], nodes).map_err(io::Error::other)?;
    let stored: StoredMembership = openraft::StoredMembership::new(log_id(&applied), membership);
    applied.membership = serde_json::to_vec(&stored).map_err(io::Error::other)?.into();
    Ok(applied)
}

/// Purges a new log up to there, and closes it.
pub(crate) async fn begin_log(mut log: LogStore, applied: &Applied) -> Result<(), io::Error> {
    if let Some(id) = log_id(applied) {
        RaftLogStorage::<TypeConfig>::purge(&mut log, id).await?;
    }
    log.close().await
}
