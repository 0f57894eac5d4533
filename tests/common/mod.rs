//! What the end-to-end tests share: real processes on free loopback ports, sinks that receive, and waiting
//! for a condition with a deadline. Nothing here sleeps for luck.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses its own part of this"
)]

pub mod alertmanager;
pub mod chromium;
pub mod cluster;
pub mod etcd;
pub mod etcdctl;
pub mod failover;
pub mod fenced;
pub mod http;
pub mod mail;
pub mod nginx;
pub mod node;
pub mod otlp;
pub mod pki;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod receiver;
pub mod signature;
pub mod wait;

pub use cluster::{Cluster, Node};
pub use wait::eventually;
