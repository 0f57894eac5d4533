//! The registry's members: who they are, and changing them.

use std::time::Duration;

use watchkeep_api::etcdserverpb::{
    Member as Listed, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, ResponseHeader, cluster_client::ClusterClient,
};

use super::{Client, ClientError, Link, is_passing, no_answer};

/// How long a change may take: it waits for the change before it and for a majority.
const CHANGE: Duration = Duration::from_secs(15);
/// How long an endpoint may take to say who the members are.
const LIST: Duration = Duration::from_secs(8);

/// A member of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryMember {
    /// Its id.
    pub id: u64,
    /// Its name; empty before it was up.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; none before it was up.
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    pub is_learner: bool,
}

/// The members of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryMembers {
    /// The cluster's id.
    pub cluster_id: u64,
    /// Everybody, by id.
    pub members: Vec<RegistryMember>,
}

impl RegistryMembers {
    fn new(header: Option<ResponseHeader>, members: Vec<Listed>) -> Self {
        let member = |member: Listed| RegistryMember {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            is_learner: member.is_learner,
        };
        Self {
            cluster_id: header.map_or(0, |header| header.cluster_id),
            members: members.into_iter().map(member).collect(),
        }
    }
}

impl Client {
    /// Who the members are, read linearizably where the server can.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn members(&self) -> Result<RegistryMembers, ClientError> {
        let answer = self
            .retry("list members", LIST, |channel| async move {
                let request = MemberListRequest { linearizable: true };
                ClusterClient::new(channel).member_list(request).await
            })
            .await?
            .into_inner();
        Ok(RegistryMembers::new(answer.header, answer.members))
    }

    /// Adds a member under a new id, which is answered with everybody.
    ///
    /// # Errors
    /// When the registry refuses or the endpoint does not answer; then it may have been added all the same.
    pub async fn add_member(
        &self,
        peer_url: &str,
        is_learner: bool,
    ) -> Result<(u64, RegistryMembers), ClientError> {
        let request = MemberAddRequest { peer_ur_ls: vec![peer_url.to_owned()], is_learner };
        let adding = |mut client: ClusterClient<Link>| async move {
            Ok(client.member_add(request).await?.into_inner())
        };
        let answer = self.once(&format!("add member {peer_url}"), adding).await?;
        let id = answer.member.map_or(0, |member| member.id);
        Ok((id, RegistryMembers::new(answer.header, answer.members)))
    }

    /// Gives a learner a vote.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn promote_member(&self, id: u64) -> Result<RegistryMembers, ClientError> {
        let promoting = |mut client: ClusterClient<Link>| async move {
            Ok(client.member_promote(MemberPromoteRequest { id }).await?.into_inner())
        };
        let answer = self.once(&format!("promote member {id}"), promoting).await?;
        Ok(RegistryMembers::new(answer.header, answer.members))
    }

    /// Removes a member for ever.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn remove_member(&self, id: u64) -> Result<RegistryMembers, ClientError> {
        let removing = |mut client: ClusterClient<Link>| async move {
            Ok(client.member_remove(MemberRemoveRequest { id }).await?.into_inner())
        };
        let answer = self.once(&format!("remove member {id}"), removing).await?;
        Ok(RegistryMembers::new(answer.header, answer.members))
    }

    /// Says where a member is from now on.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn update_member(
        &self,
        id: u64,
        peer_url: &str,
    ) -> Result<RegistryMembers, ClientError> {
        let request = MemberUpdateRequest { id, peer_ur_ls: vec![peer_url.to_owned()] };
        let moving = |mut client: ClusterClient<Link>| async move {
            Ok(client.member_update(request).await?.into_inner())
        };
        let answer = self.once(&format!("update member {id}"), moving).await?;
        Ok(RegistryMembers::new(answer.header, answer.members))
    }

    /// Asks an endpoint that answers, once: a change that failed may have been made.
    async fn once<T, A>(
        &self,
        what: &str,
        call: impl FnOnce(ClusterClient<Link>) -> A,
    ) -> Result<T, ClientError>
    where
        A: Future<Output = Result<T, tonic::Status>>,
    {
        // Listing finds an endpoint that is up.
        self.members().await?;
        let (at, channel) = self.endpoints.current();
        // Listing has logged in, if need be.
        let asked = async { call(ClusterClient::new(self.login.link(channel).await?)).await };
        let asked = tokio::time::timeout(CHANGE, asked).await;
        asked.unwrap_or_else(|_| Err(no_answer(CHANGE))).map_err(|status| {
            if is_passing(&status) {
                self.endpoints.rotate(at);
            }
            self.endpoints.error(at, what, &status)
        })
    }
}
