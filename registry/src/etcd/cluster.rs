//! `etcdserverpb.Cluster`: who the members are, and changing them at run time.

use tonic::{Request, Response, Status};
use watchkeep_api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, ResponseHeader, cluster_server,
};

use super::header;
use crate::{
    cluster::{Cluster, ClusterError, Listed},
    members::{Change, peer_address},
};

pub(super) struct ClusterService(pub(super) Cluster);

type Answer<T> = Result<Response<T>, Status>;

/// The one peer address of a member.
fn address(urls: &[String]) -> Result<String, Status> {
    match urls {
        [url] => peer_address(url)
            .ok_or_else(|| Status::invalid_argument("etcdserver: given member URLs are invalid")),
        [] => Err(Status::invalid_argument("etcdserver: given member URLs are invalid")),
        _ => Err(Status::invalid_argument(
            "watchkeep: a member has one peer URL: give the one that the others reach",
        )),
    }
}

fn member(cluster: &Cluster, listed: Listed) -> Member {
    let info = listed.info.unwrap_or_default();
    Member {
        id: listed.id,
        name: info.name,
        peer_ur_ls: vec![cluster.peer_url(&listed.peer.address)],
        client_ur_ls: info.client_urls,
        is_learner: listed.is_learner,
    }
}

impl ClusterService {
    fn header(&self) -> Option<ResponseHeader> {
        header(&self.0, self.0.store().applied().revision)
    }

    fn members(&self) -> Result<Vec<Member>, ClusterError> {
        Ok(self.0.listed()?.into_iter().map(|listed| member(&self.0, listed)).collect())
    }

    /// Makes the change; answers with the id and with everybody afterwards.
    async fn change(&self, change: Change) -> Result<(u64, Vec<Member>), Status> {
        let id = self.0.change_member(&change).await??;
        Ok((id, self.members()?))
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Answer<MemberListResponse> {
        let _permit = self.0.admit()?;
        if request.into_inner().linearizable {
            self.0.linearizable_view().await?;
        }
        Ok(Response::new(MemberListResponse { header: self.header(), members: self.members()? }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Answer<MemberAddResponse> {
        let MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let change = Change::Add { address: address(&peer_ur_ls)?, is_learner };
        let (id, members) = self.change(change).await?;
        let member = members.iter().find(|member| member.id == id).cloned();
        Ok(Response::new(MemberAddResponse { header: self.header(), member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Answer<MemberRemoveResponse> {
        let (id, mut members) = self.change(Change::Remove { id: request.into_inner().id }).await?;
        // When it was this member, its own state does not say so.
        members.retain(|member| member.id != id);
        Ok(Response::new(MemberRemoveResponse { header: self.header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Answer<MemberUpdateResponse> {
        let MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let change = Change::Update { id, address: address(&peer_ur_ls)? };
        let (_, members) = self.change(change).await?;
        Ok(Response::new(MemberUpdateResponse { header: self.header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Answer<MemberPromoteResponse> {
        let (_, members) = self.change(Change::Promote { id: request.into_inner().id }).await?;
        Ok(Response::new(MemberPromoteResponse { header: self.header(), members }))
    }
}
