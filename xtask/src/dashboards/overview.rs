//! The first look: is the promise kept, and does Watchkeep itself work?

use super::{
    board::{
        BUDGET, BURN, Board, FEW, LATENCY, NONE, OBJECTIVE, PLAIN, SOME, Services, areas, lines,
        stat, table,
    },
    query::{max, quantile, quantile_of_range, rate},
};

const READING: &str = r#"
**First row:** the promise, over all services at their worst: 99.99 % of probes succeed, and within 100 ms. Red is a promise broken, not a fault that is going on.
**Second row:** what keeps watch. Anything red here comes first: nobody is paged by what does not run.
**Then:** which service it is, and on which node. A service's name leads to *Service detail*; each panel's links lead to its runbook.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "overview",
        title: "Overview",
        description: "Is the promise kept, and does Watchkeep itself work?",
        metric: "watchkeep_catalog_revision",
        reading: READING,
        services: Services::Many,
        rows: Vec::new(),
    };
    board
        .row("Is the promise kept?", promise())
        .row("Does Watchkeep work?", itself())
        .row("Services", services())
        .row("Nodes", nodes())
        .row("HTTP and catalog", http())
        .row("DNS, where a node answers it", dns())
}

fn promise() -> Vec<super::board::Panel> {
    vec![
        stat("Available, worst service", "percentunit", "Share of probes in 30 days that succeeded, of the service that is worst off. The promise is 99.99 %.")
            .ask("", r#"min(max by (service) (watchkeep_slo_availability_ratio{service=~"$service",window="30d"}))"#)
            .steps(OBJECTIVE).decimals(3).runbook("WatchkeepSloBudgetBurnSlow"),
        stat("In time, worst service", "percentunit", "Share of probes in 30 days that succeeded within the latency objective, of the service that is worst off.")
            .ask("", r#"min(max by (service) (watchkeep_slo_latency_ratio{service=~"$service",window="30d"}))"#)
            .steps(OBJECTIVE).decimals(3).runbook("WatchkeepSloBudgetBurnSlow"),
        stat("Least budget left", "percentunit", "What is left of 30 days' error budget where least is left. Below 0 the objective was missed.")
            .ask("", r#"min(watchkeep_slo_error_budget_remaining_ratio{service=~"$service",window="30d"})"#)
            .steps(BUDGET).decimals(2).runbook("WatchkeepSloBudgetBurnSlow"),
        stat("Fastest burn", "short", "Burn rate of the last hour where it is fastest: 1 spends the budget exactly, 14.4 pages.")
            .ask("", r#"max(watchkeep_slo_burn_rate{service=~"$service",window="1h"})"#)
            .steps(BURN).decimals(1).runbook("WatchkeepSloBudgetBurnFast"),
        stat("Critical instances", "short", "Instances that the collectors' quorum holds for critical now.")
            .ask("", r#"max(watchkeep_alerting_verdicts{status="critical"})"#)
            .steps(NONE).runbook("InstanceCritical"),
        stat("Open incidents", "short", "Incidents that are triggered or acknowledged.")
            .ask("", r#"sum(max by (status) (watchkeep_alerting_incidents{status=~"triggered|acknowledged"}))"#)
            .steps(NONE).runbook("InstanceCritical"),
    ]
}

fn itself() -> Vec<super::board::Panel> {
    vec![
        stat("Nodes that answer", "short", "Nodes whose metrics could be fetched. It should be all of them.")
            .ask("", "sum(up)").steps(SOME).runbook("WatchkeepNoLeader"),
        stat("Members with a leader", "short", "Members of the registry that know a leader. Fewer than all: some are cut off. None: no writes.")
            .ask("", "sum(etcd_server_has_leader)").steps(SOME).runbook("WatchkeepNoLeader"),
        stat("Alerting leaders", "short", "Exactly one decides, pages and fails over.")
            .ask("", "sum(watchkeep_alerting_is_leader)")
            .steps(&[("red", None), ("green", Some(1.0)), ("red", Some(2.0))])
            .runbook("WatchkeepNoAlertingLeader"),
        stat("Registry, 99th percentile", "s", "Reads and writes of the registry in the time shown. The promise is 100 ms.")
            .ask("", quantile_of_range("0.99", "", r#"grpc_server_handling_seconds{grpc_service="etcdserverpb.KV"}"#))
            .steps(LATENCY).runbook("WatchkeepSlowRequests"),
        stat("Pages that wait", "short", "Pages that are still to be delivered. For long: somebody does not know of an incident.")
            .ask("", "max(watchkeep_alerting_pending_pages)").steps(FEW).runbook("WatchkeepNotificationsFailing"),
        stat("Alerts that fire", "short", "Alerts of Watchkeep's own rules that fire now.")
            .ask("", r#"max(watchkeep_alerting_rule_alerts{state="firing"})"#).steps(FEW).runbook("WatchkeepRulesFailing"),
    ]
}

fn services() -> Vec<super::board::Panel> {
    let of = |metric: &str, window: &str| {
        format!(r#"max by (service) ({metric}{{service=~"$service",window="{window}"}})"#)
    };
    let worst = |of: &str, metric: &str, window: &str| {
        format!(r#"{of} by (service) ({metric}{{service=~"$service",window="{window}"}})"#)
    };
    let (left, burn) = ("watchkeep_slo_error_budget_remaining_ratio", "watchkeep_slo_burn_rate");
    vec![
        table("Services against their objectives", "Each service against its objective. Standbys do not count; maintenance does not either.")
            .column("available 24 h", "percentunit", OBJECTIVE, of("watchkeep_slo_availability_ratio", "24h"))
            .column("in time 24 h", "percentunit", OBJECTIVE, of("watchkeep_slo_latency_ratio", "24h"))
            .column("available 30 d", "percentunit", OBJECTIVE, of("watchkeep_slo_availability_ratio", "30d"))
            .column("budget left 30 d", "percentunit", BUDGET, worst("min", left, "30d"))
            .column("burn rate 1 h", "short", BURN, worst("max", burn, "1h"))
            .column("down 30 d", "s", PLAIN, of("watchkeep_slo_downtime_seconds", "30d"))
            .runbook("InstanceCritical"),
        areas("Instances by verdict", "short", "What the collectors' quorum holds of each instance.")
            .ask("{{status}}", max("status", "watchkeep_alerting_verdicts")).runbook("InstanceCritical"),
        lines("Burn rate of the last hour", "short", "Share of bad probes over the share that the objective allows: 1 spends the budget exactly.")
            .ask("{{service}} {{slo}}", r#"max by (service, slo) (watchkeep_slo_burn_rate{service=~"$service",window="1h"})"#)
            .steps(BURN).runbook("WatchkeepSloBudgetBurnFast"),
        lines("Time of probes", "s", "99th percentile by service. The promise is 100 ms.")
            .ask("{{service}}", quantile("0.99", "service", r#"probe_duration_seconds{service=~"$service"}"#))
            .steps(LATENCY).runbook("WatchkeepSloBudgetBurnFast"),
    ]
}

fn nodes() -> Vec<super::board::Panel> {
    vec![
        lines("CPU", "short", "Cores that are busy.")
            .ask("{{instance}}", rate("instance", "process_cpu_seconds_total")),
        lines("Memory", "bytes", "Resident memory, and memory that is mapped.")
            .ask("{{instance}} resident", max("instance", "process_resident_memory_bytes"))
            .ask("{{instance}} mapped", max("instance", "process_virtual_memory_bytes")),
        lines("Open files", "percentunit", "File descriptors in use, of those that may be. At 1 no connection can be taken any more.")
            .ask("{{instance}}", "max by (instance) (process_open_fds) / max by (instance) (process_max_fds)")
            .steps(&[("green", None), ("orange", Some(0.8))]),
        lines("Threads", "short", "Threads of the process.").ask("{{instance}}", max("instance", "process_threads")),
        lines("Running since", "s", "Time since the process started: who restarted, and when?")
            .ask("{{instance}}", "time() - max by (instance) (process_start_time_seconds)").runbook("WatchkeepLeaderChanges"),
    ]
}

fn http() -> Vec<super::board::Panel> {
    vec![
        areas("HTTP requests", "reqps", "Per second, by route and status.")
            .ask("{{route}} {{status}}", rate("route, status", "watchkeep_http_requests_total")),
        lines("Time of HTTP requests", "s", "99th percentile by route. The promise is 100 ms; routes that wait for a change take as long as they were asked to.")
            .ask("{{route}}", quantile("0.99", "route", "watchkeep_http_request_seconds"))
            .steps(LATENCY).runbook("WatchkeepSlowRequests"),
        lines("Readers that wait", "short", "Requests that wait for a change of the catalog, open streams of events, and streams per second that were cut since nobody read them.")
            .ask("{{instance}} waiting", max("instance", "watchkeep_http_requests_waiting"))
            .ask("{{instance}} streams", max("instance", "watchkeep_http_event_streams"))
            .ask("{{instance}} cut/s", rate("instance", "watchkeep_http_event_streams_cut_total")),
        lines("Instances known", "short", "Registered instances as each node knows them, and records of the catalog that it left out: unreadable, or too many.")
            .ask("{{instance}}", max("instance", "watchkeep_catalog_instances"))
            .ask("{{instance}} left out", max("instance", "watchkeep_catalog_records_left_out")),
        lines("Catalog behind by", "short", "Revisions of the registry that a node's catalog has not seen yet. A node that stays behind answers with old services.")
            .ask("{{instance}}", "scalar(max(watchkeep_registry_revision)) - max by (instance) (watchkeep_catalog_revision)").free(),
        lines("HTTP logins, TLS and web configuration", "ops", "Per second: requests without a good user, by reason; connections whose TLS handshake came to nothing; changes of the web configuration or its certificates, taken or refused. The log says which.")
            .ask("login refused: {{reason}}", rate("reason", "watchkeep_http_logins_refused_total"))
            .ask("TLS refused: {{instance}}", rate("instance", "watchkeep_http_tls_connections_refused_total"))
            .ask("web configuration {{result}}", rate("result", "watchkeep_http_web_config_reloads_total")),
    ]
}

fn dns() -> Vec<super::board::Panel> {
    vec![
        areas("DNS queries", "reqps", "Per second, by type and response code.")
            .ask("{{type}} {{rcode}}", rate("type, rcode", "watchkeep_dns_queries_total")),
        lines("Time of DNS answers", "s", "99th percentile, without the network.")
            .ask("{{instance}}", quantile("0.99", "instance", "watchkeep_dns_answer_seconds"))
            .steps(LATENCY),
        lines(
            "DNS answers cut or left out",
            "ops",
            "Truncated: the client asks again by TCP. Dropped: no queries, or too many.",
        )
        .ask("{{instance}} truncated", rate("instance", "watchkeep_dns_answers_truncated_total"))
        .ask("{{instance}} dropped", rate("instance", "watchkeep_dns_messages_dropped_total")),
    ]
}
