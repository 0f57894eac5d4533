//! Typed keys and records over the etcd v3 API, and a small client for it.
//!
//! Collector and alerting know the registry only through this crate, so both also run over an etcd cluster
//! that is already there. Nothing here knows how the registry stores what it is told.

pub mod access;
pub mod client;
mod examine;
mod json;
pub mod keys;
pub mod migrate;
mod name;
pub mod prompb;
mod record;
mod registration;
mod report;
pub mod view;

pub use watchkeep_api::{causes, tls, trace};

pub use client::{Client, ClientError, ClientTlsConfig, Credentials, KeyValue};
pub use examine::{Examination, MemberState, examine};
pub use json::{read_json, read_value};
pub use name::{NameError, check_name};
pub use record::*;
pub use registration::{
    RegisterError, Registered, Wanted, deregister, heartbeat, heartbeat_all, register, register_all,
};
pub use report::{ReportError, report};
pub use view::{Catalog, Health, Seen, View};

/// An instant as records carry it: UTC, RFC 3339 in JSON.
pub type Time = chrono::DateTime<chrono::Utc>;
