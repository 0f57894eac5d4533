//! `etcdserverpb.Auth`.

use tonic::{Request, Response, Status};
use watchkeep_api::{
    authpb,
    etcdserverpb::{
        AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse,
        AuthRoleAddRequest, AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse,
        AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
        AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
        AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest,
        AuthStatusResponse, AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest,
        AuthUserChangePasswordResponse, AuthUserDeleteRequest, AuthUserDeleteResponse,
        AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest,
        AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
        AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest,
        AuthenticateResponse, ResponseHeader, auth_server,
    },
};

use super::{
    errors::{BadRequest, refused},
    header,
    kv::accepted,
    limits,
};
use crate::{
    auth::{Caller, NAME_BYTES_MAX, PasswordError, Passwords, Tables},
    cluster::Cluster,
    mvcc::Refusal,
    schema::{self, AuthAction, Body, Login, Permission, RolePermission, UserPassword, UserRole},
};

/// How often a login is tried when users or roles change between its password and the log.
const LOGIN_TRIES_MAX: usize = 5;

pub(super) struct Auth(pub(super) Cluster);

type Answer<T> = Result<Response<T>, Status>;

impl From<PasswordError> for Status {
    fn from(error: PasswordError) -> Self {
        let text = error.to_string();
        match error {
            PasswordError::TooMany => Self::resource_exhausted(text),
            PasswordError::NotAHash => Self::invalid_argument(text),
            // etcd has no code for it.
            PasswordError::TooLong => Self::unknown(text),
            PasswordError::Failed(_) => Self::internal(text),
        }
    }
}

/// A name that can be kept.
fn name(name: String) -> Result<String, Status> {
    if name.len() > NAME_BYTES_MAX {
        let text = format!("watchkeep: a name is longer than {NAME_BYTES_MAX} bytes");
        return Err(Status::invalid_argument(text));
    }
    Ok(name)
}

fn permission(given: authpb::Permission) -> Result<Permission, BadRequest> {
    let (key, range_end) = (given.key, given.range_end);
    if key.len().max(range_end.len()) > limits::KEY_BYTES_MAX {
        return Err(BadRequest::KeyTooLong);
    }
    Ok(Permission { kind: given.perm_type, key, range_end })
}

impl Auth {
    async fn change<T>(
        &self,
        request: &Request<T>,
        action: AuthAction,
    ) -> Result<Option<ResponseHeader>, Status> {
        let _permit = self.0.admit()?;
        let body = Body::Auth(schema::Auth { action: Some(action) });
        let caller = Caller::of(request, &self.0);
        let outcome = accepted(self.0.propose_for(&caller, body).await?)?;
        Ok(header(&self.0, outcome.revision))
    }

    /// Users and roles with everything that was acknowledged before.
    async fn tables(&self) -> Result<(std::sync::Arc<Tables>, Option<ResponseHeader>), Status> {
        let _permit = self.0.admit()?;
        let revision = self.0.linearizable_view().await?.applied().revision;
        Ok((self.0.auth().tables(), header(&self.0, revision)))
    }

    /// Whether a caller may know of a user or a role: root, or whose own it is.
    fn check_own(&self, caller: &Caller, is_own: bool) -> Result<(), Status> {
        if is_own { Ok(()) } else { Ok(self.0.auth().check_root(caller)?) }
    }

    async fn hash(&self, password: String, hashed: &str) -> Result<bytes::Bytes, Status> {
        if password.is_empty() && !hashed.is_empty() {
            return Ok(Passwords::given(hashed)?);
        }
        Ok(self.0.auth().passwords().hash(password).await?)
    }

    /// One try at a login: its token, or none when users or roles have changed meanwhile.
    async fn log_in(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Option<AuthenticateResponse>, Status> {
        let auth = self.0.auth();
        self.0.linearizable_view().await?;
        let tables = auth.tables();
        if !tables.enabled() {
            return Err(refused(Refusal::AuthNotEnabled));
        }
        let known = tables.user(user);
        if known.is_some_and(|user| user.no_password) {
            // etcd has no code for it.
            return Err(Status::unknown(
                "auth: authentication failed, password was given for no password user",
            ));
        }
        let matches = match known {
            Some(user) => auth.passwords().matches(password.to_owned(), user.hash.clone()).await?,
            None => {
                // It takes as long for a user that there is not: the time tells nothing.
                auth.passwords().hash(String::new()).await?;
                false
            }
        };
        if !matches {
            return Err(refused(Refusal::AuthFailed));
        }
        let revision = tables.revision();
        let new = auth
            .new_token(user, revision)
            .ok_or_else(|| Status::unknown("auth: token signing attempted with verify-only key"))?;
        let login = Login { user: user.to_owned(), token_hash: new.hash(), revision };
        let body = Body::Auth(schema::Auth { action: Some(AuthAction::Login(login)) });
        let outcome = self.0.propose_for(&auth.nobody(), body).await?;
        if outcome.refusal == Refusal::AuthOldRevision as u32 {
            return Ok(None);
        }
        let outcome = accepted(outcome)?;
        let index = outcome.auth.map_or(0, |auth| auth.index);
        let header = header(&self.0, outcome.revision);
        Ok(Some(AuthenticateResponse { header, token: new.token(index) }))
    }
}

#[tonic::async_trait]
impl auth_server::Auth for Auth {
    async fn auth_enable(&self, request: Request<AuthEnableRequest>) -> Answer<AuthEnableResponse> {
        let header = self.change(&request, AuthAction::Enable(())).await?;
        Ok(Response::new(AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Answer<AuthDisableResponse> {
        let header = self.change(&request, AuthAction::Disable(())).await?;
        Ok(Response::new(AuthDisableResponse { header }))
    }

    async fn auth_status(&self, _: Request<AuthStatusRequest>) -> Answer<AuthStatusResponse> {
        let (tables, header) = self.tables().await?;
        let (enabled, auth_revision) = (tables.enabled(), tables.revision());
        Ok(Response::new(AuthStatusResponse { header, enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Answer<AuthenticateResponse> {
        let AuthenticateRequest { name, password } = request.into_inner();
        let _permit = self.0.admit()?;
        let metrics = self.0.auth().metrics();
        for _ in 0..LOGIN_TRIES_MAX {
            match self.log_in(&name, &password).await {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    metrics.login(true);
                    return Ok(Response::new(answer));
                }
                Err(status) => {
                    metrics.login(false);
                    return Err(status);
                }
            }
        }
        metrics.login(false);
        Err(refused(Refusal::AuthOldRevision))
    }

    async fn user_add(
        &self,
        mut request: Request<AuthUserAddRequest>,
    ) -> Answer<AuthUserAddResponse> {
        let add = std::mem::take(request.get_mut());
        let (name, no_password) = (name(add.name)?, add.options.is_some_and(|o| o.no_password));
        if name.is_empty() {
            return Err(refused(Refusal::UserEmpty));
        }
        let hash = match no_password {
            true => bytes::Bytes::new(),
            false => self.hash(add.password, &add.hashed_password).await?,
        };
        let action = AuthAction::UserAdd(UserPassword { name, hash, no_password });
        let header = self.change(&request, action).await?;
        Ok(Response::new(AuthUserAddResponse { header }))
    }

    async fn user_get(&self, request: Request<AuthUserGetRequest>) -> Answer<AuthUserGetResponse> {
        let (tables, header) = self.tables().await?;
        let caller = Caller::of(&request, &self.0);
        let name = &request.get_ref().name;
        self.check_own(&caller, caller.user() == name)?;
        let user = tables.user(name).ok_or_else(|| refused(Refusal::UserNotFound))?;
        Ok(Response::new(AuthUserGetResponse { header, roles: user.roles.clone() }))
    }

    async fn user_list(&self, _: Request<AuthUserListRequest>) -> Answer<AuthUserListResponse> {
        let (tables, header) = self.tables().await?;
        let users = tables.users().cloned().collect();
        Ok(Response::new(AuthUserListResponse { header, users }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Answer<AuthUserDeleteResponse> {
        let action = AuthAction::UserDelete(request.get_ref().name.clone());
        let header = self.change(&request, action).await?;
        Ok(Response::new(AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        mut request: Request<AuthUserChangePasswordRequest>,
    ) -> Answer<AuthUserChangePasswordResponse> {
        let change = std::mem::take(request.get_mut());
        let hash = self.hash(change.password, &change.hashed_password).await?;
        let changed = UserPassword { name: change.name, hash, no_password: false };
        let header = self.change(&request, AuthAction::UserChangePassword(changed)).await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Answer<AuthUserGrantRoleResponse> {
        let AuthUserGrantRoleRequest { user, role } = request.get_ref().clone();
        let header =
            self.change(&request, AuthAction::UserGrantRole(UserRole { user, role })).await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Answer<AuthUserRevokeRoleResponse> {
        let AuthUserRevokeRoleRequest { name: user, role } = request.get_ref().clone();
        let header =
            self.change(&request, AuthAction::UserRevokeRole(UserRole { user, role })).await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(&self, request: Request<AuthRoleAddRequest>) -> Answer<AuthRoleAddResponse> {
        let action = AuthAction::RoleAdd(name(request.get_ref().name.clone())?);
        let header = self.change(&request, action).await?;
        Ok(Response::new(AuthRoleAddResponse { header }))
    }

    async fn role_get(&self, request: Request<AuthRoleGetRequest>) -> Answer<AuthRoleGetResponse> {
        let (tables, header) = self.tables().await?;
        let caller = Caller::of(&request, &self.0);
        let role = &request.get_ref().role;
        let own = tables.user(caller.user()).is_some_and(|user| user.roles.contains(role));
        self.check_own(&caller, own)?;
        let permissions = tables.role(role).ok_or_else(|| refused(Refusal::RoleNotFound))?;
        let perm = permissions.into_iter().map(|p| authpb::Permission {
            perm_type: p.kind,
            key: p.key,
            range_end: p.range_end,
        });
        Ok(Response::new(AuthRoleGetResponse { header, perm: perm.collect() }))
    }

    async fn role_list(&self, _: Request<AuthRoleListRequest>) -> Answer<AuthRoleListResponse> {
        let (tables, header) = self.tables().await?;
        Ok(Response::new(AuthRoleListResponse { header, roles: tables.roles() }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Answer<AuthRoleDeleteResponse> {
        let action = AuthAction::RoleDelete(request.get_ref().role.clone());
        let header = self.change(&request, action).await?;
        Ok(Response::new(AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        mut request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Answer<AuthRoleGrantPermissionResponse> {
        let grant = std::mem::take(request.get_mut());
        let permission = grant.perm.map(permission).transpose()?;
        let granted = RolePermission { role: grant.name, permission };
        let header = self.change(&request, AuthAction::RoleGrant(granted)).await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        mut request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Answer<AuthRoleRevokePermissionResponse> {
        let revoke = std::mem::take(request.get_mut());
        let (key, range_end) = (revoke.key, revoke.range_end);
        let permission = Some(Permission { kind: 0, key, range_end });
        let revoked = RolePermission { role: revoke.role, permission };
        let header = self.change(&request, AuthAction::RoleRevoke(revoked)).await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header }))
    }
}
