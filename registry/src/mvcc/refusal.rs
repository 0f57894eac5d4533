//! Why the state machine refuses a command. The same on every node, so it is part of the answer.

use thiserror::Error;

/// A refusal; its number goes over the wire between members: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// The revision is compacted.
    #[error("mvcc: required revision has been compacted")]
    Compacted = 1,
    /// The revision is in the future.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision = 2,
    /// There is no such lease.
    #[error("requested lease not found")]
    LeaseNotFound = 3,
    /// There is such a lease already.
    #[error("lease already exists")]
    LeaseExists = 4,
    /// `ignore_value` or `ignore_lease` of a key that does not exist.
    #[error("key not found")]
    KeyNotFound = 5,
    /// A lease that a former leader saw run out.
    #[error("lease was judged by a former leader")]
    FormerTerm = 6,
    /// A member has raised [`super::NO_SPACE`].
    #[error("mvcc: database space exceeded")]
    NoSpace = 60,
    /// [`super::CORRUPT`] is raised.
    #[error("corrupt cluster")]
    Corrupt = 61,
    /// Users cannot be checked: there is no root.
    #[error("root user does not exist")]
    RootUserMissing = 100,
    /// Users cannot be checked: root has not its role.
    #[error("root user does not have root role")]
    RootRoleMissing = 101,
    /// There is such a user.
    #[error("user name already exists")]
    UserExists = 102,
    /// A user without a name, or a caller.
    #[error("user name is empty")]
    UserEmpty = 103,
    /// There is no such user.
    #[error("user name not found")]
    UserNotFound = 104,
    /// There is such a role.
    #[error("role name already exists")]
    RoleExists = 105,
    /// There is no such role.
    #[error("role name not found")]
    RoleNotFound = 106,
    /// A role without a name.
    #[error("role name is empty")]
    RoleEmpty = 107,
    /// Not the password.
    #[error("authentication failed, invalid user ID or password")]
    AuthFailed = 108,
    /// They may not.
    #[error("permission denied")]
    PermissionDenied = 109,
    /// The user has not this role.
    #[error("role is not granted to the user")]
    RoleNotGranted = 110,
    /// The role has not this permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted = 111,
    /// Users are not checked, so nobody logs in.
    #[error("authentication is not enabled")]
    AuthNotEnabled = 112,
    /// What would lock everybody out, or mean nothing.
    #[error("invalid auth management")]
    InvalidAuthManagement = 113,
    /// Users or roles have changed since the caller was known.
    #[error("revision of auth store is old")]
    AuthOldRevision = 114,
    /// A permission is missing.
    #[error("permission not given")]
    PermissionNotGiven = 115,
    /// A permission to write Watchkeep's own keys.
    #[error("keys under /watchkeep/ are written by role watchkeep")]
    ReservedKeys = 116,
}

impl Refusal {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [
            Self::Compacted,
            Self::FutureRevision,
            Self::LeaseNotFound,
            Self::LeaseExists,
            Self::KeyNotFound,
            Self::FormerTerm,
            Self::NoSpace,
            Self::Corrupt,
            Self::RootUserMissing,
            Self::RootRoleMissing,
            Self::UserExists,
            Self::UserEmpty,
            Self::UserNotFound,
            Self::RoleExists,
            Self::RoleNotFound,
            Self::RoleEmpty,
            Self::AuthFailed,
            Self::PermissionDenied,
            Self::RoleNotGranted,
            Self::PermissionNotGranted,
            Self::AuthNotEnabled,
            Self::InvalidAuthManagement,
            Self::AuthOldRevision,
            Self::PermissionNotGiven,
            Self::ReservedKeys,
        ]
        .into_iter()
        .find(|refusal| *refusal as u32 == number)
    }
}
