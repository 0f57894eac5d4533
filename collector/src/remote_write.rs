//! Prometheus remote write 1.0, out and in.
//!
//! Out: samples go to every alerting member but ourselves, from a bounded queue in memory per receiver; what
//! does not fit is dropped and counted. (Buffering on disk is a later step: until then a receiver that is away
//! for longer than its queue lasts has a gap.) In: [`write_router`] appends to the series store.

mod codec;
mod members;
mod prompb;
mod queue;
mod receiver;

pub use codec::{DecodeError, decode, encode};
pub(crate) use members::{Receivers, follow};
pub use receiver::write_router;
