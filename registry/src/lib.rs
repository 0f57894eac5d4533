//! The replicated store: etcd v3 API, MVCC, watch, lease, Raft, storage.
//!
//! ```text
//! client ─gRPC─▶ etcd/ ─▶ cluster (propose, read index) ─▶ raft/ ─▶ mvcc (apply) ─▶ store
//!                     ▲ reads: a view of the store                              └▶ watch hub
//! ```

mod auth;
mod authority;
mod background;
pub mod backup;
mod bootstrap;
mod calls;
mod client;
mod cluster;
mod compaction;
mod config;
mod corruption;
mod duties;
mod election;
mod error;
mod etcd;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod health;
mod identity;
mod lessor;
mod members;
mod messages;
mod metrics;
mod mvcc;
mod node;
mod raft;
mod renewal;
mod schema;
mod serve;
mod space;
mod spans;
mod store;
mod tls;
mod wal;
mod watch;

pub use config::{InitialClusterState, Invalid, PeerTlsConfig, RegistryConfig, TlsConfig};
pub use error::StartError;
pub use node::{Member, Node, Status};
pub use tls::remarks::open_to_all;
