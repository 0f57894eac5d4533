//! The first start of a cluster, and of a member.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use openraft::errors::{InitializeError, RaftError};

use crate::{
    config::RegistryConfig,
    error::StartError,
    raft::{
        Peers,
        types::{Peer, Raft},
    },
};

/// How long another member may take to say who has been up.
const ASK: Duration = Duration::from_millis(500);

/// Refuses to start a member with an empty directory when another remembers that it has been up before: having
/// forgotten its votes and its log it could help to lose what was acknowledged.
pub(crate) async fn refuse_amnesia(
    config: &RegistryConfig,
    peers: &Peers,
) -> Result<(), StartError> {
    for (&id, address) in config.initial_cluster.iter().filter(|(id, _)| **id != config.node_id) {
        let Ok(mut client) = peers.client(address) else { continue };
        let asked =
            tokio::time::timeout(ASK, client.identity(peers.envelope(id, Bytes::new()))).await;
        // Whoever does not answer knows nothing: at the first start of a cluster that is everybody.
        let Ok(Ok(answer)) = asked else { continue };
        if answer.into_inner().published.contains(&config.node_id) {
            return Err(StartError::Amnesia { id: config.node_id, by: id });
        }
    }
    Ok(())
}

/// Gives a new log its first entry: the members. Every member writes the same, so any of them may lead.
pub(crate) async fn initialize(config: &RegistryConfig, raft: &Raft) -> Result<(), StartError> {
    if raft.is_initialized().await.map_err(StartError::raft)? {
        return Ok(());
    }
    let members: BTreeMap<u64, Peer> = config
        .initial_cluster
        .iter()
        .map(|(id, address)| (*id, Peer { address: address.clone() }))
        .collect();
    match raft.initialize(members).await {
        // Not allowed: another member was quicker, and its log has arrived already.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::raft(error)),
    }
}
