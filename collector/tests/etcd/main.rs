//! The collector over a real etcd: the registry's protocol is etcd's, so a company's own cluster serves it too.
//!
//! Needs `etcd` (apt package `etcd-server`).

mod opinions;
mod peer;
#[path = "../../../tests/common/ports.rs"]
mod ports;
mod rig;
mod samples;
mod schedule;
mod sharing;
