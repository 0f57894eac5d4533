//! Alerting nodes over a real etcd: what they decide, and what comes of it.
//! They are one program, since each by itself would be as large as all.

mod approval;
mod delivery;
mod failover;
mod fault;
mod feed;
mod mail;
mod oncall;
#[path = "../../../tests/common/ports.rs"]
mod ports;
mod support;
mod takeover;
mod trigger;
