//! Prometheus's HTTP API, as its own clients and Grafana use it: the same requests to a real Prometheus and to a node that
//! hold the same samples, `promtool query`, remote read, vmalert; and data sources outside.

use std::time::Duration;

#[path = "../common/mod.rs"]
mod common;

#[path = "../../collector/series/tests/generate/mod.rs"]
mod generate;

mod access;
mod canceled;
mod clients;
mod differential;
mod grafana;
mod limits;
mod peers;
mod read;
mod rules;
mod rules_outside;
mod secrets;
mod shapes;
mod sources;

const SOON: Duration = Duration::from_secs(30);
