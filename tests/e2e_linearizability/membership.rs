//! Members changed at run time, as an operator does it: one is removed, and a new one takes its place under the next
//! number.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, transport::Channel};
use watchkeep_api::etcdserverpb::{
    Member as Listed, MemberAddRequest, MemberListRequest, MemberRemoveRequest,
    cluster_client::ClusterClient,
};

use crate::{
    RECOVERY,
    clients::Run,
    common::{eventually, wait::ensure},
    member::{self, Member},
    network::Network,
    rpc,
};

/// How long the asked member may take: it waits ten seconds itself, for a leader and for all to be heard.
const ASK: Duration = Duration::from_secs(12);

/// Removes member `id`, by a word to the one at the place `asked`. The process is not told.
pub(crate) async fn remove(run: &Run, asked: usize, id: u64) {
    eventually(&format!("member {id} is removed"), RECOVERY, async || {
        let mut asking = connect(run, asked);
        let answer = timeout(ASK, asking.member_remove(MemberRemoveRequest { id })).await;
        match answer {
            Ok(Ok(_)) => Ok(()),
            // An answer that was lost leaves open whether it was removed.
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Announces a new member for the place of one that was removed, starts it there and waits until it votes.
pub(crate) async fn replace(run: &Run, network: &Network, members: &mut [Member], place: usize) {
    let others: Vec<(u64, usize)> = members
        .iter()
        .filter(|other| other.at != place)
        .map(|other| (other.id, other.at))
        .collect();
    members[place].kill();
    let id = add(run, others[0].1, &member::peer(network, place)).await;
    for (_, other) in &others {
        // Each, since whichever answers it decides whether it may join.
        listed(run, *other, id, |_| true).await;
    }
    members[place].replace(network, id, &others);
    members[place].start(network);
    listed(run, others[0].1, id, |member| !member.is_learner).await;
}

/// Announces it; its number.
async fn add(run: &Run, asked: usize, peer: &str) -> u64 {
    let url = format!("http://{peer}");
    eventually(&format!("a member at {peer} is added"), RECOVERY, async || {
        // An answer that was lost leaves open whether it was added.
        let known = list(run, asked).await?;
        if let Some(member) = known.iter().find(|member| member.peer_ur_ls.contains(&url)) {
            return Ok(member.id);
        }
        let request = MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner: false };
        let mut asking = connect(run, asked);
        let answer = timeout(ASK, asking.member_add(request)).await;
        let answer =
            answer.map_err(|late| late.to_string())?.map_err(|status| status.to_string())?;
        answer.into_inner().member.map(|member| member.id).ok_or_else(|| "no member".to_owned())
    })
    .await
}

/// Waits until the one at the place `asked` lists member `id` in the state that is wanted.
async fn listed(run: &Run, asked: usize, id: u64, wanted: fn(&Listed) -> bool) {
    eventually(&format!("member {id} is listed"), RECOVERY, async || {
        let known = list(run, asked).await?;
        let holds = known.iter().any(|member| member.id == id && wanted(member));
        ensure(holds, || format!("{known:?}"))
    })
    .await;
}

async fn list(run: &Run, asked: usize) -> Result<Vec<Listed>, String> {
    let mut asking = connect(run, asked);
    let request = MemberListRequest { linearizable: true };
    let answer = timeout(ASK, asking.member_list(request)).await;
    let answer = answer.map_err(|late| late.to_string())?.map_err(|status| status.to_string())?;
    Ok(answer.into_inner().members)
}

fn connect(run: &Run, member: usize) -> ClusterClient<Channel> {
    ClusterClient::new(rpc::channel(&run.members[member].0))
}
