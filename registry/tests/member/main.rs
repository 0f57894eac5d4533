//! Members in this process, through the etcd API: one and three, their leases, their watches.

#[path = "../../../tests/common/ports.rs"]
mod ports;

mod leases;
mod node;
mod watch;
