//! Requests of users and about users, and what comes back.

use std::collections::HashMap;

use tokio_stream::once;
use tonic::{
    Request, Response, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use watchkeep_api::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
        AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
        AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
        AuthUserDeleteRequest, AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest,
        AuthUserRevokeRoleRequest, AuthenticateRequest, DeleteRangeRequest, LeaseRevokeRequest,
        LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest, WatchCreateRequest,
        WatchRequest, auth_client::AuthClient, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
};

use crate::{op::bare, side::Side};

/// Role that Watchkeep alone has.
const BUILT_IN: &str = "watchkeep";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Without a token.
    Nobody,
    /// With the token of the newest login as this user, whether that is still good or not; without one as nobody.
    User(&'static str),
    /// With a token that never was.
    Stranger,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UserOp {
    LogIn { user: &'static str, password: &'static str },
    Enable,
    Disable,
    UserAdd { name: &'static str, password: &'static str, no_password: bool },
    UserDelete(&'static str),
    UserGet(&'static str),
    UserList,
    ChangePassword { name: &'static str, password: &'static str },
    GrantRole { user: &'static str, role: &'static str },
    RevokeRole { user: &'static str, role: &'static str },
    RoleAdd(&'static str),
    RoleDelete(&'static str),
    RoleGet(&'static str),
    RoleList,
    Grant { role: &'static str, permission: Permission },
    Revoke { role: &'static str, key: &'static [u8], range_end: &'static [u8] },
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    LeaseRevoke(i64),
    LeaseKeys(i64),
    Watch(WatchCreateRequest),
}

/// What came back: the response as text, or code and message.
pub(crate) type Said = Result<String, String>;

/// The tokens that one side has given out, by user.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<&'static str, String>);

impl Tokens {
    fn request<T>(&self, who: Who, body: T) -> Request<T> {
        let mut request = Request::new(body);
        let token = match who {
            Who::Nobody => None,
            Who::User(user) => self.0.get(user).map(String::as_str),
            Who::Stranger => Some("never.1"),
        };
        if let Some(token) = token {
            let value: MetadataValue<_> = token.parse().expect("ASCII");
            request.metadata_mut().insert("token", value);
        }
        request
    }
}

/// A response as text, without what is each server's own.
macro_rules! said {
    ($call:expr) => {
        said($call.await, |response| response.header = bare(response.header))
    };
}

fn said<T: std::fmt::Debug>(
    result: Result<Response<T>, Status>,
    without_own: impl FnOnce(&mut T),
) -> Said {
    match result {
        Ok(response) => {
            let mut response = response.into_inner();
            without_own(&mut response);
            Ok(format!("{response:?}"))
        }
        Err(status) => Err(format!("{:?}: {}", status.code(), status.message())),
    }
}

impl UserOp {
    /// Asks one side.
    pub(crate) async fn ask(&self, who: Who, side: &mut Side, tokens: &mut Tokens) -> Said {
        match self.clone() {
            Self::Range(body) => said!(side.kv.range(tokens.request(who, body))),
            Self::Put(body) => said!(side.kv.put(tokens.request(who, body))),
            Self::Delete(body) => said!(side.kv.delete_range(tokens.request(who, body))),
            Self::Txn(body) => said(side.kv.txn(tokens.request(who, body)).await, |response| {
                response.header = bare(response.header);
                // Inner ones have none at all, or the outer's.
                response.responses.iter_mut().for_each(without_header);
            }),
            Self::LeaseRevoke(id) => {
                let body = LeaseRevokeRequest { id };
                said!(side.lease.lease_revoke(tokens.request(who, body)))
            }
            Self::LeaseKeys(id) => {
                let body = LeaseTimeToLiveRequest { id, keys: true };
                let answer = side.lease.lease_time_to_live(tokens.request(who, body)).await;
                said(answer, |response| {
                    response.header = bare(response.header);
                    response.ttl = response.ttl.min(0);
                    response.keys.sort();
                })
            }
            Self::Watch(create) => watch(side, tokens, who, create).await,
            about_users => about_users.manage(who, AuthClient::new(side.channel()), tokens).await,
        }
    }

    /// Asks about users and roles.
    async fn manage(self, who: Who, mut auth: AuthClient<Channel>, tokens: &mut Tokens) -> Said {
        match self {
            Self::LogIn { user, password } => {
                let body =
                    AuthenticateRequest { name: user.to_owned(), password: password.to_owned() };
                let mut answer = auth.authenticate(tokens.request(Who::Nobody, body)).await;
                if let Ok(response) = &mut answer {
                    tokens.0.insert(user, std::mem::take(&mut response.get_mut().token));
                }
                said(answer, |response| response.header = bare(response.header))
            }
            Self::Enable => said!(auth.auth_enable(tokens.request(who, AuthEnableRequest {}))),
            Self::Disable => said!(auth.auth_disable(tokens.request(who, AuthDisableRequest {}))),
            Self::UserAdd { name, password, no_password } => {
                let options = Some(UserAddOptions { no_password });
                let (name, password) = (name.to_owned(), password.to_owned());
                let body =
                    AuthUserAddRequest { name, password, options, ..AuthUserAddRequest::default() };
                said!(auth.user_add(tokens.request(who, body)))
            }
            Self::UserDelete(name) => {
                let body = AuthUserDeleteRequest { name: name.to_owned() };
                said!(auth.user_delete(tokens.request(who, body)))
            }
            Self::UserGet(name) => {
                let body = AuthUserGetRequest { name: name.to_owned() };
                said!(auth.user_get(tokens.request(who, body)))
            }
            Self::UserList => {
                said!(auth.user_list(tokens.request(who, AuthUserListRequest {})))
            }
            Self::ChangePassword { name, password } => {
                let (name, password) = (name.to_owned(), password.to_owned());
                let hashed_password = String::new();
                let body = AuthUserChangePasswordRequest { name, password, hashed_password };
                said!(auth.user_change_password(tokens.request(who, body)))
            }
            Self::GrantRole { user, role } => {
                let (user, role) = (user.to_owned(), role.to_owned());
                let body = AuthUserGrantRoleRequest { user, role };
                said!(auth.user_grant_role(tokens.request(who, body)))
            }
            Self::RevokeRole { user, role } => {
                let (name, role) = (user.to_owned(), role.to_owned());
                let body = AuthUserRevokeRoleRequest { name, role };
                said!(auth.user_revoke_role(tokens.request(who, body)))
            }
            Self::RoleAdd(name) => {
                let body = AuthRoleAddRequest { name: name.to_owned() };
                said!(auth.role_add(tokens.request(who, body)))
            }
            Self::RoleDelete(role) => {
                let body = AuthRoleDeleteRequest { role: role.to_owned() };
                said!(auth.role_delete(tokens.request(who, body)))
            }
            Self::RoleGet(role) => {
                let body = AuthRoleGetRequest { role: role.to_owned() };
                said!(auth.role_get(tokens.request(who, body)))
            }
            Self::RoleList => {
                let answer = auth.role_list(tokens.request(who, AuthRoleListRequest {})).await;
                said(answer, |response| {
                    response.header = bare(response.header);
                    response.roles.retain(|role| role != BUILT_IN);
                })
            }
            Self::Grant { role, permission } => {
                let (name, perm) = (role.to_owned(), Some(permission));
                let body = AuthRoleGrantPermissionRequest { name, perm };
                said!(auth.role_grant_permission(tokens.request(who, body)))
            }
            Self::Revoke { role, key, range_end } => {
                let (role, key, range_end) = (role.to_owned(), key.into(), range_end.into());
                let body = AuthRoleRevokePermissionRequest { role, key, range_end };
                said!(auth.role_revoke_permission(tokens.request(who, body)))
            }
            other => unreachable!("{other:?} is not about users"),
        }
    }
}

fn without_header(op: &mut watchkeep_api::etcdserverpb::ResponseOp) {
    use watchkeep_api::etcdserverpb::response_op::Response;
    match &mut op.response {
        Some(Response::ResponseRange(r)) => r.header = None,
        Some(Response::ResponsePut(r)) => r.header = None,
        Some(Response::ResponseDeleteRange(r)) => r.header = None,
        Some(Response::ResponseTxn(r)) => r.header = None,
        None => {}
    }
}

/// The first that a watch is told.
async fn watch(side: &Side, tokens: &Tokens, who: Who, create: WatchCreateRequest) -> Said {
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The stream stays open until it is told.
    let requests = futures::StreamExt::chain(once(create), futures::stream::pending());
    // On a connection of its own: what comes after the first counts against this client's, which nobody reads.
    let channel = Endpoint::from_shared(side.endpoint.clone()).expect("an URL").connect_lazy();
    let opened = WatchClient::new(channel).watch(tokens.request(who, requests)).await;
    let first = match opened {
        Ok(stream) => stream.into_inner().message().await,
        Err(status) => Err(status),
    };
    let first = first.and_then(|told| told.ok_or_else(|| Status::internal("told nothing")));
    said(first.map(Response::new), |told| told.header = bare(told.header))
}

/// Ends the checking of users and removes all of them and all roles.
pub(crate) async fn forget_users(side: &mut Side, password: &'static str) {
    let mut tokens = Tokens::default();
    let root = UserOp::LogIn { user: "root", password };
    // Refused when users are not checked.
    let _ = root.ask(Who::Nobody, side, &mut tokens).await;
    UserOp::Disable.ask(Who::User("root"), side, &mut tokens).await.expect("root may");
    let mut auth = AuthClient::new(side.channel());
    let users = auth.user_list(AuthUserListRequest {}).await.expect("users").into_inner().users;
    for name in users {
        auth.user_delete(AuthUserDeleteRequest { name }).await.expect("deleted");
    }
    let roles = auth.role_list(AuthRoleListRequest {}).await.expect("roles").into_inner().roles;
    for role in roles.into_iter().filter(|role| role != BUILT_IN) {
        auth.role_delete(AuthRoleDeleteRequest { role }).await.expect("deleted");
    }
}
