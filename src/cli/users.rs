//! `watchkeep user`, `watchkeep role`, `watchkeep auth`: who may do what in the registry. Works with an etcd as well.

mod auth;
mod role;
mod user;

pub(crate) use auth::Auth;
pub(crate) use role::Role;
pub(crate) use user::User;
