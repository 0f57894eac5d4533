//! The benchmarks under `benches/`: programs of their own, on the dist profile, never part of the tests.

use crate::{command::cargo, peers};

/// Name, and what it measures.
const BENCHES: &[(&str, &str)] = &[
    (
        "detection",
        "from SIGKILL of a service to the delivered failover callback, one node and three",
    ),
    (
        "failover",
        "from the verdict to the callback received: 1,000 services on three nodes, 20 fail at once; a verdict",
    ),
    (
        "postgres",
        "PostgreSQL's primary killed under pgbench: fault, verdict, callback, writes again",
    ),
    (
        "probes",
        "CPU per HTTP and TCP probe and probes per second, side by side with blackbox_exporter",
    ),
    (
        "registry",
        "puts, ranges, leases, watches, failover and a million keys, side by side with etcd",
    ),
    (
        "crowd",
        "100,000 leases granted at once, as many idle watchers, all leases running out: rate, CPU, memory",
    ),
    (
        "fleet",
        "100,000 instances with a TTL, a heartbeat each every 10 s, on three nodes: CPU per heartbeat, late ones, memory",
    ),
    (
        "scale",
        "20,000 HTTP checks every 5 s on one collector: lag, what is left out, CPU, memory; a verdict",
    ),
    (
        "series",
        "100,000 series, side by side with Prometheus: ingest, memory, disk, alerts, a large sum, restart",
    ),
    (
        "report",
        "SLO reports of 1,000 services over 30 days of 10 s probes: the first one, and the others; a verdict",
    ),
    (
        "alerting",
        "side by side with Alertmanager: POST to webhook, notifications and alerts per second; --faults: lost, twice, late",
    ),
    ("soak", "ten minutes of the most puts, with snapshots, purges and restarts; a verdict"),
    ("promise", "the share of requests within 100 ms at half of the most puts, beside backups"),
];

/// Lists them, or runs one; further arguments are its own.
pub(crate) fn bench(args: &[String]) -> Result<(), String> {
    let Some((name, rest)) = args.split_first() else {
        for (name, what) in BENCHES {
            println!("cargo xtask bench {name:<10} {what}");
        }
        return Ok(());
    };
    if !BENCHES.iter().any(|(known, _)| known == name) {
        let known = BENCHES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(format!("there is no benchmark {name:?}; there are: {known}"));
    }
    peers::ensure()?;
    println!("profile dist: optimised as a packager ships it; the build takes a few minutes");
    cargo(&["bench", "--profile", "dist", "--bench", name, "--"], rest)
}
