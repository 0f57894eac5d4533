//! The first start of a cluster, and of a member.

use std::{collections::BTreeMap, time::Duration};

use openraft::errors::{InitializeError, RaftError};
use tracing::warn;
use watchkeep_api::peer::IdentityResponse;

use crate::{
    cluster::Cluster,
    config::{InitialClusterState, RegistryConfig, unreachable_members},
    error::StartError,
    identity::{Identity, cluster_words},
    raft::{
        Peers,
        types::{Peer, Raft},
    },
};

/// How long another member may take to say who it is and who has been up.
const ASK: Duration = Duration::from_millis(500);
/// How often the members of a cluster to be joined are asked until one answers.
const ASKS_MAX: u32 = 10;

/// Who a member with an empty data directory is: refuses what cannot be, before anything is written.
pub(crate) async fn first_start(
    config: &RegistryConfig,
    peers: &Peers,
) -> Result<Identity, StartError> {
    match config.initial_cluster_state {
        InitialClusterState::New => {
            let unreachable = unreachable_members(config);
            if !unreachable.is_empty() {
                return Err(StartError::Config(unreachable));
            }
            let identity = Identity::founder(config);
            // Whoever does not answer knows nothing: at the first start of a cluster that is everybody.
            for answer in ask(config, peers).await {
                may_begin(config, identity.cluster_id(), &answer)?;
            }
            Ok(identity)
        }
        InitialClusterState::Existing => {
            let mut asks = 1;
            loop {
                let answers = ask(config, peers).await;
                if !answers.is_empty() || asks >= ASKS_MAX {
                    return may_join(config, &answers);
                }
                asks += 1;
                tokio::time::sleep(ASK).await;
            }
        }
    }
}

/// What the other members in the settings say, those who answer.
async fn ask(config: &RegistryConfig, peers: &Peers) -> Vec<IdentityResponse> {
    let asks = others(config).map(async |(id, address)| {
        let answer = peers.identity_or_why(address, ASK).await;
        if let Err(Some(error)) = &answer {
            warn!(
                member = id,
                address,
                error,
                "a member does not say who it is; registry.peer_tls has to be set on all members or on none, with certificates \
                 that all of them trust"
            );
        }
        answer.ok()
    });
    futures::future::join_all(asks).await.into_iter().flatten().collect()
}

fn others(config: &RegistryConfig) -> impl Iterator<Item = (&u64, &String)> {
    config.initial_cluster.iter().filter(|(id, _)| **id != config.node_id)
}

/// Refuses to begin a cluster beside one that is there, and a member that another remembers: having forgotten its
/// votes and its log it could help to lose what was acknowledged.
fn may_begin(
    config: &RegistryConfig,
    cluster_id: u64,
    answer: &IdentityResponse,
) -> Result<(), StartError> {
    if answer.cluster_id != cluster_id {
        let address = config.initial_cluster.get(&answer.node_id).cloned().unwrap_or_default();
        return Err(StartError::OtherCluster {
            by: answer.node_id,
            address,
            found: cluster_words(answer.cluster_id),
            own: cluster_words(cluster_id),
        });
    }
    remembered(config.node_id, answer)
}

/// Refuses a member that was removed, or has been up.
fn remembered(id: u64, answer: &IdentityResponse) -> Result<(), StartError> {
    let is_member = answer.members.iter().any(|member| member.id == id);
    if !is_member && answer.last_member_id >= id {
        return Err(StartError::Removed { id, cluster: cluster_words(answer.cluster_id) });
    }
    if answer.published.contains(&id) {
        return Err(StartError::Amnesia { id, by: answer.node_id });
    }
    Ok(())
}

/// Lets a member join that was announced, at the address under which it was, if it has never been up.
fn may_join(config: &RegistryConfig, answers: &[IdentityResponse]) -> Result<Identity, StartError> {
    let id = config.node_id;
    // Who has applied most knows best.
    let Some(newest) = answers.iter().max_by_key(|answer| answer.applied_index) else {
        let addresses: Vec<&str> = others(config).map(|(_, address)| address.as_str()).collect();
        return Err(StartError::NobodyToJoin { addresses: addresses.join(", ") });
    };
    if let Some(other) = answers.iter().find(|answer| answer.cluster_id != newest.cluster_id) {
        return Err(StartError::State(format!(
            "initial_cluster names members of two clusters: member {} of {} and member {} of {}; name those of the \
             one to join",
            newest.node_id,
            cluster_words(newest.cluster_id),
            other.node_id,
            cluster_words(other.cluster_id),
        )));
    }
    for answer in answers {
        remembered(id, answer)?;
    }
    let given = config.initial_cluster.get(&id).cloned().unwrap_or_default();
    let cluster = cluster_words(newest.cluster_id);
    let Some(own) = newest.members.iter().find(|member| member.id == id) else {
        let words = newest.members.iter().map(|member| format!("{}={}", member.id, member.address));
        let members = words.collect::<Vec<_>>().join(", ");
        return Err(StartError::NotAdded { id, cluster, members, address: given });
    };
    if own.address != given {
        let known = own.address.clone();
        return Err(StartError::OtherAddress { id, cluster, known, given });
    }
    Ok(Identity::joining(id, newest.cluster_id))
}

/// Says so when the others look for this member elsewhere than its settings say. Ends as soon as that is known.
pub(crate) async fn notice_move(config: RegistryConfig, cluster: Cluster) {
    loop {
        let own = cluster.membership().into_iter().find(|(id, ..)| *id == config.node_id);
        if let Some((_, peer, _)) = own {
            if let Some(said) = moved(&config, &peer.address) {
                warn!("{said}");
            }
            return;
        }
        tokio::time::sleep(ASK).await;
    }
}

fn moved(config: &RegistryConfig, known: &str) -> Option<String> {
    let (id, given) = (config.node_id, config.initial_cluster.get(&config.node_id)?);
    if given == known {
        return None;
    }
    Some(format!(
        "the other members look for member {id} at {known}, and its settings say {given}: if it has moved there, say \
         `watchkeep member update {id} {given}`; else correct registry.initial_cluster"
    ))
}

/// Gives a new log its first entry: the members. Every founder writes the same, so any of them may lead.
pub(crate) async fn initialize(config: &RegistryConfig, raft: &Raft) -> Result<(), StartError> {
    if raft.is_initialized().await.map_err(StartError::raft)? {
        return Ok(());
    }
    let members: BTreeMap<u64, Peer> =
        config.initial_cluster.iter().map(|(id, address)| (*id, Peer::at(address))).collect();
    match raft.initialize(members).await {
        // Not allowed: another member was quicker, and its log has arrived already.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::raft(error)),
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_api::peer::PeerMember;

    use super::*;

    fn answer(node_id: u64, members: &[u64], published: &[u64], last: u64) -> IdentityResponse {
        IdentityResponse {
            node_id,
            published: published.to_vec(),
            cluster_id: 7,
            members: members
                .iter()
                .map(|id| PeerMember { id: *id, address: format!("h{id}:1"), is_learner: false })
                .collect(),
            last_member_id: last,
            applied_index: node_id,
        }
    }

    fn config(node_id: u64) -> RegistryConfig {
        let initial_cluster =
            [1, 2, node_id].map(|id: u64| (id, format!("h{id}:1"))).into_iter().collect();
        RegistryConfig {
            node_id,
            initial_cluster,
            initial_cluster_state: InitialClusterState::Existing,
            ..RegistryConfig::default()
        }
    }

    #[test]
    fn who_may_join() {
        let joins = |id, answers: &[IdentityResponse]| match may_join(&config(id), answers) {
            Ok(identity) => format!("joins {}", identity.cluster_id()),
            Err(error) => error.to_string(),
        };
        let knows = answer(2, &[1, 2, 4], &[1, 2], 4);
        assert_eq!(joins(4, &[answer(1, &[1, 2], &[1, 2], 3), knows.clone()]), "joins 7");
        for (id, answers, part) in [
            (4, vec![], "no member of the cluster to join answers at h1:1, h2:1"),
            (
                5,
                vec![knows.clone()],
                "member 5 is not one of cluster 0000000000000007, whose members are 1=h1:1",
            ),
            (3, vec![knows.clone()], "member 3 was removed from cluster 0000000000000007"),
            (
                4,
                vec![answer(2, &[1, 2, 4], &[1, 2, 4], 4)],
                "member 4 has been up before, says member 2",
            ),
            (
                4,
                vec![
                    knows.clone(),
                    IdentityResponse { cluster_id: 8, ..answer(1, &[1, 2, 4], &[], 4) },
                ],
                "members of two clusters",
            ),
        ] {
            let said = joins(id, &answers);
            assert!(said.contains(part), "{id}: {said}");
        }
        let mut moved = config(4);
        moved.initial_cluster.insert(4, "elsewhere:1".to_owned());
        let said = may_join(&moved, &[knows]).unwrap_err().to_string();
        assert!(said.contains("with the peer address h4:1"), "{said}");
    }

    #[test]
    fn a_member_that_has_moved_is_told() {
        let config = config(4);
        assert_eq!(moved(&config, "h4:1"), None);
        let said = moved(&config, "elsewhere:1").expect("it has moved");
        assert!(said.contains("at elsewhere:1") && said.contains("member update 4 h4:1"), "{said}");
    }

    #[test]
    fn who_may_begin() {
        let begins = |id, answer: &IdentityResponse| {
            may_begin(&config(id), 7, answer).err().map(|error| error.to_string())
        };
        // Another founder that was a little quicker, before and after it has applied who the members are.
        assert_eq!(begins(3, &answer(1, &[], &[], 0)), None);
        assert_eq!(begins(3, &answer(1, &[1, 2, 3], &[1], 3)), None);
        for (answer, part) in [
            (answer(1, &[1, 2, 3], &[1, 3], 3), "has been up before, says member 1"),
            (answer(1, &[1, 2, 4], &[1, 2], 4), "was removed from cluster"),
            (
                IdentityResponse { cluster_id: 9, ..answer(1, &[], &[], 0) },
                "belongs to cluster 0000000000000009",
            ),
        ] {
            let said = begins(3, &answer).unwrap_or_default();
            assert!(said.contains(part), "{said}");
        }
    }
}
