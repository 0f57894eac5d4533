//! `etcdserverpb.Cluster`. Members are changed at run time in a later version; listing them works now.

use tonic::{Request, Response, Status};
use watchkeep_api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, cluster_server,
};

use super::header;
use crate::cluster::{Cluster, ClusterError};

pub(super) struct ClusterService(pub(super) Cluster);

type Answer<T> = Result<Response<T>, Status>;

fn fixed() -> Status {
    Status::unimplemented(
        "watchkeep: members cannot be changed at run time yet; start the cluster with the members it needs",
    )
}

impl ClusterService {
    fn members(&self) -> Result<Vec<Member>, ClusterError> {
        let published = self.0.members()?;
        let members = self.0.membership().into_iter().map(|(id, peer, is_learner)| {
            let info = published.iter().find(|info| info.id == id);
            Member {
                id,
                name: info.map(|info| info.name.clone()).unwrap_or_default(),
                peer_ur_ls: vec![format!("http://{}", peer.address)],
                client_ur_ls: info.map(|info| info.client_urls.clone()).unwrap_or_default(),
                is_learner,
            }
        });
        Ok(members.collect())
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Answer<MemberListResponse> {
        if request.into_inner().linearizable {
            self.0.linearizable_view().await?;
        }
        let revision = self.0.store().applied().revision;
        Ok(Response::new(MemberListResponse {
            header: header(&self.0, revision),
            members: self.members()?,
        }))
    }

    async fn member_add(&self, _: Request<MemberAddRequest>) -> Answer<MemberAddResponse> {
        Err(fixed())
    }

    async fn member_remove(&self, _: Request<MemberRemoveRequest>) -> Answer<MemberRemoveResponse> {
        Err(fixed())
    }

    async fn member_update(&self, _: Request<MemberUpdateRequest>) -> Answer<MemberUpdateResponse> {
        Err(fixed())
    }

    async fn member_promote(
        &self,
        _: Request<MemberPromoteRequest>,
    ) -> Answer<MemberPromoteResponse> {
        Err(fixed())
    }
}
