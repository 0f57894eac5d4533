//! The collectors: what do the probes say, do they run in time, and does what they measure arrive?

use super::{
    board::{Board, FEW, LATENCY, NONE, Panel, SOME, Services, areas, lines, stat, states},
    query::{count, max, or_zero, quantile, quantile_of_range, rate},
};

const READING: &str = r#"
**A probe that fails** is red in *Last probe*. If one collector alone sees it, look at that collector's network; if all do, it is the instance.
**A collector that does not keep up** shows in *Late probes* and *Probes left out*: faults are then seen late.
**Opinions** go to the registry, and the quorum of them is the verdict; samples go to the series stores, and nothing that acts waits for those.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "probes",
        title: "Probes",
        description: "What do the probes say, do they run in time, and does what they measure arrive?",
        metric: "watchkeep_collector_targets",
        reading: READING,
        services: Services::Many,
        rows: Vec::new(),
    };
    board
        .row("At a glance", glance())
        .row("What the probes say", results())
        .row("Do they run in time?", time())
        .row("Opinions", opinions())
        .row("Scrapes of instances' own metrics", scrapes())
        .row("Samples on their way", samples())
}

fn glance() -> Vec<Panel> {
    vec![
        stat("Collectors", "short", "That share the checks. Three in three zones make one bad network a minority.")
            .ask("", "max(watchkeep_collector_members)").steps(SOME),
        stat("Checks", "short", "That all collectors probe together.").ask("", "max(watchkeep_collector_targets_known)"),
        stat("Probes per second", "ops", "Of all collectors.").ask("", rate("", "watchkeep_collector_probes_total")),
        stat("Checks that fail", "short", "Checks whose last probe failed, as any collector saw it.")
            .ask("", or_zero(r#"count(min by (service, exported_instance, check) (probe_success{service=~"$service"}) == 0)"#, "watchkeep_collector_members"))
            .steps(NONE).runbook("InstanceCritical"),
        stat("99th percentile of probes", "s", "In the time shown. The promise is 100 ms.")
            .ask("", quantile_of_range("0.99", "", r#"probe_duration_seconds{service=~"$service"}"#))
            .steps(LATENCY).runbook("WatchkeepSloBudgetBurnFast"),
        stat("Collectors outvoted", "short", "Collectors that stand against the others on some check.")
            .ask("", or_zero("count(max by (collector) (watchkeep_alerting_opinions_outvoted) > 0)", "watchkeep_collector_members"))
            .steps(FEW).runbook("WatchkeepCollectorsDisagree"),
    ]
}

fn results() -> Vec<Panel> {
    vec![
        states("Last probe", "Whether the last probe of each check succeeded, as each collector saw it. Prometheus calls the probed instance exported_instance.", &[("failed", "red"), ("good", "green")])
            .ask("{{service}} {{exported_instance}} {{check}} from {{collector}}", r#"min by (service, exported_instance, check, collector) (probe_success{service=~"$service"})"#)
            .size(12, 8).runbook("InstanceCritical"),
        lines("Time of probes", "s", "Median and 99th percentile by service and check. The promise is 100 ms.")
            .ask("{{service}} {{check}} 50 %", quantile("0.5", "service, check", r#"probe_duration_seconds{service=~"$service"}"#))
            .ask("{{service}} {{check}} 99 %", quantile("0.99", "service, check", r#"probe_duration_seconds{service=~"$service"}"#))
            .steps(LATENCY).size(12, 8).runbook("WatchkeepSloBudgetBurnFast"),
        areas("Probes", "ops", "Per second, by kind and result.")
            .ask("{{kind}} {{result}}", rate("kind, result", "watchkeep_collector_probes_total")),
        lines("Checks with and without series of their own", "short", "Beyond target_metrics_max checks have no probe_success on the metrics page; the series stores have all.")
            .ask("{{instance}} listed", max("instance", "watchkeep_collector_targets_listed"))
            .ask("{{instance}} unlisted", max("instance", "watchkeep_collector_targets_unlisted")),
        areas("Requests for /probe", "reqps", "Probes that others ask for as they would ask blackbox_exporter, by result.")
            .ask("{{result}}", or_zero(&rate("result", "watchkeep_collector_probe_requests_total"), "watchkeep_collector_members")),
    ]
}

fn time() -> Vec<Panel> {
    vec![
        lines("Late probes", "s", "99th percentile of how much later than scheduled a probe began.")
            .ask("{{instance}}", quantile("0.99", "instance", "watchkeep_collector_probe_lag_seconds"))
            .steps(LATENCY).runbook("WatchkeepProbesMissed"),
        lines("Probes left out", "ops", "Missed: those before took too long. Shed: probes_max others were under way.")
            .ask("{{instance}} missed", rate("instance", "watchkeep_collector_missed_runs_total"))
            .ask("{{instance}} shed", rate("instance", "watchkeep_collector_shed_runs_total"))
            .steps(FEW).runbook("WatchkeepProbesMissed"),
        lines("Share of the checks", "short", "Checks that each collector probes, and those that it still probes until others have taken them over.")
            .ask("{{instance}}", max("instance", "watchkeep_collector_targets"))
            .ask("{{instance}} leaving", max("instance", "watchkeep_collector_targets_leaving")),
    ]
}

fn opinions() -> Vec<Panel> {
    vec![
        areas("Changes of opinion", "ops", "Per second, by new status.")
            .ask("{{status}}", or_zero(&rate("status", "watchkeep_collector_opinion_changes_total"), "watchkeep_collector_members")).runbook("InstanceCritical"),
        lines("Opinions on their way", "s", "99th percentile in the time shown, from an opinion to the registry's acknowledgement.")
            .ask("{{instance}}", quantile_of_range("0.99", "instance", "watchkeep_collector_opinion_write_seconds"))
            .steps(LATENCY).runbook("WatchkeepSlowRequests"),
        lines("Checks on which collectors are outvoted", "short", "Checks on which a collector stands against the others: whose network is bad.")
            .ask("{{collector}}", or_zero("max by (collector) (watchkeep_alerting_opinions_outvoted)", "watchkeep_collector_members"))
            .steps(FEW).runbook("WatchkeepCollectorsDisagree"),
        lines("Checks that flap, records left out", "short", "Checks that change too often to be believed, and instance records that a collector could not take.")
            .ask("{{instance}} flapping", max("instance", "watchkeep_collector_targets_flapping"))
            .ask("{{instance}} invalid records", max("instance", "watchkeep_collector_invalid_instances")).steps(FEW),
        lines("Leases of collectors", "short", "Obtained in the time shown. One after a start is right; another means that one was lost, with all its opinions.")
            .ask("{{instance}}", count("instance", "watchkeep_collector_leases_total")).runbook("WatchkeepNoLeader"),
        lines("Foreign registrations", "short", "Keys under the prefixes of collector.foreign, by what they are.")
            .ask("{{prefix}} {{state}}", or_zero("max by (prefix, state) (watchkeep_collector_foreign_keys)", "watchkeep_collector_members")),
    ]
}

fn scrapes() -> Vec<Panel> {
    vec![
        areas("Scrapes", "ops", "Per second, by result.").ask("{{result}}", rate("result", "watchkeep_collector_scrapes_total")),
        lines("Time of scrapes", "s", "99th percentile, reading the page included.")
            .ask("{{instance}}", quantile("0.99", "instance", "watchkeep_collector_scrape_seconds")),
        lines("Pages of metrics", "short", "That each collector fetches, and scrapes per second left out because the one before took too long.")
            .ask("{{instance}}", max("instance", "watchkeep_collector_scrape_targets"))
            .ask("{{instance}} left out/s", rate("instance", "watchkeep_collector_scrapes_missed_total")),
    ]
}

fn samples() -> Vec<Panel> {
    vec![
        lines("Remote write: lag", "s", "How long the oldest request has been waiting to be taken, by receiver. Above two minutes the alert comes.")
            .ask("{{receiver}}", max("receiver", "watchkeep_collector_remote_write_lag_seconds"))
            .steps(&[("green", None), ("red", Some(120.0))]).runbook("WatchkeepRemoteWriteLag"),
        lines("Remote write: samples that wait", "short", "On the collectors' disks, by receiver; 0 while each takes them.")
            .ask("{{receiver}}", "sum by (receiver) (watchkeep_collector_remote_write_queue_length)").runbook("WatchkeepRemoteWriteLag"),
        lines("Remote write: size of the queues", "bytes", "On the collectors' disks, by receiver; beyond queue.bytes_max the oldest samples go.")
            .ask("{{receiver}}", "sum by (receiver) (watchkeep_collector_remote_write_queue_bytes)").runbook("WatchkeepRemoteWriteLag"),
        areas("Remote write: samples by result", "ops", "Sent, refused by the receiver, sent again, or dropped from a full queue.")
            .ask("{{receiver}} {{result}}", rate("receiver, result", "watchkeep_collector_remote_write_samples_total")).runbook("WatchkeepRemoteWriteLag"),
    ]
}
