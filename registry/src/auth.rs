//! Who calls, and what they may: users, roles and permissions, tokens, client certificates.
//!
//! ```text
//! token or certificate ─▶ caller ─▶ command with user and revision ─▶ log ─▶ judge (by the tables as of there) ─▶ mvcc
//!                              └──▶ reads: the state first, then the tables, then the answer
//! ```
//!
//! Tables of users and roles are replicated like keys, by the same log: a permission that is taken away is gone for
//! every command behind that change. Tokens are each member's own matter.

mod caller;
mod grants;
mod judge;
mod jwt;
mod live;
mod metrics;
mod password;
mod ranges;
mod tables;
mod tokens;

use std::time::Duration;

pub(crate) use caller::{Caller, Credentials, PeerCertificate};
pub(crate) use live::{Auth, Denied, Provider, ProviderError};
pub(crate) use metrics::AuthMetrics;
pub(crate) use password::{PasswordError, Passwords};
pub(crate) use tables::{NAME_BYTES_MAX, Tables};

/// How long a token may be ahead of this member.
const TOKEN_WAIT: Duration = Duration::from_secs(2);
