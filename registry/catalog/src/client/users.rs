//! The registry's users and roles: who they are, and changing them. A change is tried again when an endpoint fails, so one that
//! was made without an answer may be refused as made already.

use std::time::Duration;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use watchkeep_api::{
    authpb::{Permission as Wire, UserAddOptions, permission::Type},
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
        AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
        AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
        AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
        auth_client::AuthClient,
    },
};

use super::{Client, ClientError, Link, prefix_end};

/// How long an endpoint may take: a password is hashed on purpose slowly.
const CHANGE: Duration = Duration::from_secs(8);

/// What a permission allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To write.
    Write,
    /// Both.
    ReadWrite,
}

/// The keys that a permission is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    key: Bytes,
    /// Empty: the key alone; a zero byte: to the end of all keys.
    end: Bytes,
}

impl KeyRange {
    /// One key.
    #[must_use]
    pub fn key(key: &str) -> Self {
        Self { key: key.to_owned().into(), end: Bytes::new() }
    }

    /// From `key` on, below `end`.
    #[must_use]
    pub fn below(key: &str, end: &str) -> Self {
        Self { end: end.to_owned().into(), ..Self::key(key) }
    }

    /// Every key that begins with `prefix`; all keys, if that is empty.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        match prefix {
            "" => Self::from_key("\0"),
            prefix => Self { end: prefix_end(prefix.as_bytes()), ..Self::key(prefix) },
        }
    }

    /// From `key` on to the end of all keys.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        Self::below(if key.is_empty() { "\0" } else { key }, "\0")
    }

    /// For people: `/app/*`, `[a, b)`, `[a, ∞)`, `key`.
    #[must_use]
    pub fn words(&self) -> String {
        let (key, end) = (self.key.escape_ascii(), self.end.escape_ascii());
        match &self.end[..] {
            b"" => key.to_string(),
            b"\0" if self.key.is_empty() || &self.key[..] == b"\0" => "every key".to_owned(),
            b"\0" => format!("[{key}, ∞)"),
            _ if self.end == prefix_end(&self.key) => format!("{key}*"),
            _ => format!("[{key}, {end})"),
        }
    }
}

/// A permission of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// What it allows.
    pub access: Access,
    /// On which keys.
    pub keys: KeyRange,
}

impl From<Wire> for Permission {
    fn from(wire: Wire) -> Self {
        let access = match wire.perm_type() {
            Type::Read => Access::Read,
            Type::Write => Access::Write,
            Type::Readwrite => Access::ReadWrite,
        };
        Self { access, keys: KeyRange { key: wire.key, end: wire.range_end } }
    }
}

impl From<Permission> for Wire {
    fn from(permission: Permission) -> Self {
        let kind = match permission.access {
            Access::Read => Type::Read,
            Access::Write => Type::Write,
            Access::ReadWrite => Type::Readwrite,
        };
        Self { perm_type: kind.into(), key: permission.keys.key, range_end: permission.keys.end }
    }
}

/// Calls a method of the Auth service with a request that can be sent again.
macro_rules! call {
    ($self:ident, $method:ident, $what:expr, $request:expr) => {
        $self.users_call($what, $request, |mut client, request| async move {
            client.$method(request).await
        })
    };
}

impl Client {
    async fn users_call<R: Clone, T, A>(
        &self,
        what: impl AsRef<str>,
        request: R,
        call: impl Fn(AuthClient<Link>, Request<R>) -> A,
    ) -> Result<T, ClientError>
    where
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let calling = |link| call(AuthClient::new(link), Request::new(request.clone()));
        Ok(self.retry(what.as_ref(), CHANGE, calling).await?.into_inner())
    }

    /// From now on users are checked: there must be a user `root` with the role `root`.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time; so do all here.
    pub async fn enable_auth(&self) -> Result<(), ClientError> {
        call!(self, auth_enable, "enable users", AuthEnableRequest {}).await.map(drop)
    }

    /// From now on everybody may do everything.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn disable_auth(&self) -> Result<(), ClientError> {
        call!(self, auth_disable, "disable users", AuthDisableRequest {}).await.map(drop)
    }

    /// Whether users are checked, and how often users and roles have changed.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn auth_status(&self) -> Result<(bool, u64), ClientError> {
        let status = call!(self, auth_status, "status of users", AuthStatusRequest {}).await?;
        Ok((status.enabled, status.auth_revision))
    }

    /// Names of all users.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn users(&self) -> Result<Vec<String>, ClientError> {
        Ok(call!(self, user_list, "list users", AuthUserListRequest {}).await?.users)
    }

    /// A user's roles.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn user(&self, name: &str) -> Result<Vec<String>, ClientError> {
        let request = AuthUserGetRequest { name: name.to_owned() };
        Ok(call!(self, user_get, format!("user {name}"), request).await?.roles)
    }

    /// Adds a user; without a password, one that a client certificate names.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn add_user(&self, name: &str, password: Option<&str>) -> Result<(), ClientError> {
        let request = AuthUserAddRequest {
            name: name.to_owned(),
            password: password.unwrap_or_default().to_owned(),
            options: Some(UserAddOptions { no_password: password.is_none() }),
            ..AuthUserAddRequest::default()
        };
        call!(self, user_add, format!("add user {name}"), request).await.map(drop)
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn delete_user(&self, name: &str) -> Result<(), ClientError> {
        let request = AuthUserDeleteRequest { name: name.to_owned() };
        call!(self, user_delete, format!("delete user {name}"), request).await.map(drop)
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn change_password(&self, name: &str, password: &str) -> Result<(), ClientError> {
        let request = AuthUserChangePasswordRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..AuthUserChangePasswordRequest::default()
        };
        let what = format!("password of user {name}");
        call!(self, user_change_password, what, request).await.map(drop)
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn grant_role(&self, user: &str, role: &str) -> Result<(), ClientError> {
        let request = AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
        let what = format!("grant user {user} role {role}");
        call!(self, user_grant_role, what, request).await.map(drop)
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn revoke_role(&self, user: &str, role: &str) -> Result<(), ClientError> {
        let request = AuthUserRevokeRoleRequest { name: user.to_owned(), role: role.to_owned() };
        let what = format!("revoke role {role} from user {user}");
        call!(self, user_revoke_role, what, request).await.map(drop)
    }

    /// Names of all roles.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn roles(&self) -> Result<Vec<String>, ClientError> {
        Ok(call!(self, role_list, "list roles", AuthRoleListRequest {}).await?.roles)
    }

    /// A role's permissions.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn role(&self, name: &str) -> Result<Vec<Permission>, ClientError> {
        let request = AuthRoleGetRequest { role: name.to_owned() };
        let role = call!(self, role_get, format!("role {name}"), request).await?;
        Ok(role.perm.into_iter().map(Permission::from).collect())
    }

    /// Adds a role.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn add_role(&self, name: &str) -> Result<(), ClientError> {
        let request = AuthRoleAddRequest { name: name.to_owned() };
        call!(self, role_add, format!("add role {name}"), request).await.map(drop)
    }

    /// Deletes a role, and takes it from everybody.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn delete_role(&self, name: &str) -> Result<(), ClientError> {
        let request = AuthRoleDeleteRequest { role: name.to_owned() };
        call!(self, role_delete, format!("delete role {name}"), request).await.map(drop)
    }

    /// Gives a role a permission; one on the same keys is replaced.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn grant_permission(
        &self,
        role: &str,
        permission: Permission,
    ) -> Result<(), ClientError> {
        let what = format!("grant role {role} {}", permission.keys.words());
        let perm = Some(permission.into());
        let request = AuthRoleGrantPermissionRequest { name: role.to_owned(), perm };
        call!(self, role_grant_permission, what, request).await.map(drop)
    }

    /// Takes from a role its permission on exactly these keys.
    ///
    /// # Errors
    /// As [`Self::enable_auth`].
    pub async fn revoke_permission(&self, role: &str, keys: KeyRange) -> Result<(), ClientError> {
        let what = format!("revoke {} from role {role}", keys.words());
        let (role, key, range_end) = (role.to_owned(), keys.key, keys.end);
        let request = AuthRoleRevokePermissionRequest { role, key, range_end };
        call!(self, role_revoke_permission, what, request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_words() {
        for (keys, words) in [
            (KeyRange::key("/a"), "/a"),
            (KeyRange::below("a", "c"), "[a, c)"),
            (KeyRange::prefix("/app/"), "/app/*"),
            (KeyRange::from_key("/app/"), "[/app/, ∞)"),
            (KeyRange::prefix(""), "every key"),
            (KeyRange::from_key(""), "every key"),
        ] {
            assert_eq!(keys.words(), words);
        }
    }
}
