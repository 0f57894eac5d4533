//! Prometheus remote write 1.0, out and in.
//!
//! Out: samples go to every alerting member but ourselves and to whoever the configuration names, each through a queue on
//! disk that survives a restart of ours and an absence of theirs. In: [`write_router`] appends to the series store.

mod codec;
mod config;
mod deliver;
mod members;
mod native;
mod post;
mod queue;
mod receiver;
mod spool;
#[cfg(test)]
mod tests;
mod wire;

pub use codec::{DecodeError, decode, encode};
pub(crate) use config::validate;
pub use config::{QueueConfig, RemoteWriteConfig};
pub(crate) use members::{Receivers, follow};
pub(crate) use native::histogram;
pub use receiver::write_router;
pub use wire::Malformed;
