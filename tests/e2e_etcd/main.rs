//! What an etcd client sees: the API by clients that are not ours, users and certificates, members, metrics, moving in.
//! They are one program, since each by itself would be as large as all.

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod client;
mod doors;
mod etcdctl;
mod leases;
mod logins;
mod members;
mod metrics;
mod migrate;
mod operator;
mod python;
mod renewal;
mod running;
mod tls;
