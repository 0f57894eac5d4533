//! Users, roles and permissions as they are replicated and kept. Field numbers as in [`super`].

use bytes::Bytes;

/// A change of users, roles or permissions, or a login.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Auth {
    /// Which.
    #[prost(oneof = "AuthAction", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub action: Option<AuthAction>,
}

/// Which change.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum AuthAction {
    /// From now on everybody must say who they are.
    #[prost(message, tag = "1")]
    Enable(()),
    /// From now on everybody may do everything.
    #[prost(message, tag = "2")]
    Disable(()),
    /// A new user.
    #[prost(message, tag = "3")]
    UserAdd(UserPassword),
    /// A user is no more.
    #[prost(string, tag = "4")]
    UserDelete(String),
    /// A new password.
    #[prost(message, tag = "5")]
    UserChangePassword(UserPassword),
    /// A user gets a role.
    #[prost(message, tag = "6")]
    UserGrantRole(UserRole),
    /// A user loses a role.
    #[prost(message, tag = "7")]
    UserRevokeRole(UserRole),
    /// A new role.
    #[prost(string, tag = "8")]
    RoleAdd(String),
    /// A role is no more.
    #[prost(string, tag = "9")]
    RoleDelete(String),
    /// A role gets a permission.
    #[prost(message, tag = "10")]
    RoleGrant(RolePermission),
    /// A role loses a permission.
    #[prost(message, tag = "11")]
    RoleRevoke(RolePermission),
    /// A user has proved who they are and gets a token.
    #[prost(message, tag = "12")]
    Login(Login),
}

/// A user and how they prove who they are.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct UserPassword {
    /// The user.
    #[prost(string, tag = "1")]
    pub name: String,
    /// bcrypt's hash of the password, never the password.
    #[prost(bytes = "bytes", tag = "2")]
    pub hash: Bytes,
    /// Has none: a certificate names this user.
    #[prost(bool, tag = "3")]
    pub no_password: bool,
}

/// A user and a role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct UserRole {
    /// The user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The role.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// A role and a permission.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RolePermission {
    /// The role.
    #[prost(string, tag = "1")]
    pub role: String,
    /// The permission; of one that is taken away only the range counts.
    #[prost(message, optional, tag = "2")]
    pub permission: Option<Permission>,
}

/// A token for a user. The log has its hash only: who reads the log cannot use it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Login {
    /// The user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// SHA-256 of the token's random part; empty: the token is signed, and nobody need remember it.
    #[prost(bytes = "bytes", tag = "2")]
    pub token_hash: Bytes,
    /// Revision of the users when the password was checked.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
}

/// What may be done on a range of keys.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Permission {
    /// `authpb.Permission.Type`: 0 read, 1 write, 2 both.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// First key.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// End, as in a range request.
    #[prost(bytes = "bytes", tag = "3")]
    pub range_end: Bytes,
}

/// In the `meta` table: whether users are checked, and how often users and roles have changed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct AuthState {
    /// Whether users are checked.
    #[prost(bool, tag = "1")]
    pub enabled: bool,
    /// Revision of users and roles, from 1.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}

/// In the `meta` table under its name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct User {
    /// bcrypt's hash of the password.
    #[prost(bytes = "bytes", tag = "1")]
    pub hash: Bytes,
    /// Has none.
    #[prost(bool, tag = "2")]
    pub no_password: bool,
    /// Roles, sorted.
    #[prost(string, repeated, tag = "3")]
    pub roles: Vec<String>,
}

/// In the `meta` table under its name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Role {
    /// Permissions, sorted by key.
    #[prost(message, repeated, tag = "1")]
    pub permissions: Vec<Permission>,
}

/// What a member is told of a change or a refusal beyond the outcome itself.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct AuthOutcome {
    /// Log index of the login: a part of its token.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Revision of users and roles afterwards.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}

/// Prints as the user's name alone.
macro_rules! hide_secrets {
    ($($record:ident: $name:ident),+) => {$(
        impl std::fmt::Debug for $record {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($record)).field(stringify!($name), &self.$name).finish_non_exhaustive()
            }
        }
    )+};
}

hide_secrets!(UserPassword: name, Login: user, User: roles);
