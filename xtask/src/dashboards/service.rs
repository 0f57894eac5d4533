//! One service: was its promise kept, what do the probes say of each instance, and what was done about it?

use super::{
    board::{
        BUDGET, BURN, Board, FEW, LATENCY, NONE, OBJECTIVE, Panel, Services, areas, lines, stat,
        states,
    },
    query::{count, max, or_zero, quantile},
};

const READING: &str = r#"
Choose one **Service** above. **First row:** its promise, red when it is broken. **Last probe** says which instance, which check, and which collector sees it.
**Slow but up?** *Time of probes* has the median beside the 99th percentile: both high is load or network, the 99th alone is a pause (disk, lock, collection of garbage).
The same figures with each downtime's cause: `/v1/slo/SERVICE?format=html` of any node.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "service",
        title: "Service detail",
        description: "One service: was its promise kept, what do the probes say, and what was done about it?",
        metric: "watchkeep_slo_objective",
        reading: READING,
        services: Services::One,
        rows: Vec::new(),
    };
    board
        .row("The promise", promise())
        .row("What the probes say", probes())
        .row("What was done", done())
}

fn promise() -> Vec<Panel> {
    let of = |metric: &str, window: &str| {
        format!(r#"max by (window) ({metric}{{service="$service",window="{window}"}})"#)
    };
    vec![
        stat("Available, 24 h and 30 d", "percentunit", "Share of probes that succeeded. Standbys do not count.")
            .ask("24 h", of("watchkeep_slo_availability_ratio", "24h"))
            .ask("30 d", of("watchkeep_slo_availability_ratio", "30d"))
            .steps(OBJECTIVE).decimals(3).size(6, 4).runbook("WatchkeepSloBudgetBurnSlow"),
        stat("In time, 24 h and 30 d", "percentunit", "Share of probes that succeeded within the latency objective.")
            .ask("24 h", of("watchkeep_slo_latency_ratio", "24h"))
            .ask("30 d", of("watchkeep_slo_latency_ratio", "30d"))
            .steps(OBJECTIVE).decimals(3).size(6, 4).runbook("WatchkeepSloBudgetBurnSlow"),
        stat("Error budget left, 30 d", "percentunit", "1 is all of it, 0 none; below it the objective was missed.")
            .ask("{{slo}}", r#"min by (slo) (watchkeep_slo_error_budget_remaining_ratio{service="$service",window="30d"})"#)
            .steps(BUDGET).decimals(2).size(6, 4).runbook("WatchkeepSloBudgetBurnSlow"),
        stat("Down, 30 d", "s", "Time during which no serving instance was up and one was known bad. 99.99 % of 30 days leave 259 s.")
            .ask("", of("watchkeep_slo_downtime_seconds", "30d"))
            .steps(&[("green", None), ("orange", Some(1.0)), ("red", Some(259.2))]).decimals(1).size(6, 4).runbook("InstanceCritical"),
        lines("Burn rate", "short", "1 spends the budget exactly; 14.4 for an hour spends 2 % of a month's.")
            .ask("{{slo}} {{window}}", r#"max by (slo, window) (watchkeep_slo_burn_rate{service="$service"})"#)
            .steps(BURN).runbook("WatchkeepSloBudgetBurnFast").runbook("WatchkeepSloBudgetBurnSlow"),
        lines("Available in the last hour", "percentunit", "Share of probes that succeeded, and what was promised.")
            .ask("available", of("watchkeep_slo_availability_ratio", "1h"))
            .ask("objective", r#"max(watchkeep_slo_objective{service="$service",slo="availability"})"#)
            .steps(OBJECTIVE).decimals(3).share().runbook("WatchkeepSloBudgetBurnFast"),
        lines("In time in the last hour", "percentunit", "Share of probes that succeeded within the latency objective, and what was promised.")
            .ask("in time", of("watchkeep_slo_latency_ratio", "1h"))
            .ask("objective", r#"max(watchkeep_slo_objective{service="$service",slo="latency"})"#)
            .steps(OBJECTIVE).decimals(3).share().runbook("WatchkeepSloBudgetBurnFast"),
    ]
}

fn probes() -> Vec<Panel> {
    vec![
        states("Last probe", "Whether the last probe of each check succeeded, as each collector saw it. Prometheus calls the probed instance exported_instance.", &[("failed", "red"), ("good", "green")])
            .ask("{{exported_instance}} {{check}} from {{collector}}", r#"min by (exported_instance, check, collector) (probe_success{service="$service"})"#)
            .size(24, 8).runbook("InstanceCritical"),
        lines("Time of probes", "s", "Median, 99th percentile, and the objective.")
            .ask("{{check}} 50 %", quantile("0.5", "check", r#"probe_duration_seconds{service="$service"}"#))
            .ask("{{check}} 99 %", quantile("0.99", "check", r#"probe_duration_seconds{service="$service"}"#))
            .ask("objective", r#"max(watchkeep_slo_latency_objective_seconds{service="$service"})"#)
            .steps(LATENCY).runbook("WatchkeepSloBudgetBurnFast"),
        lines("Probes within 100 ms", "percentunit", "Share of all probes, failed ones included, that ended within 100 ms.")
            .ask("{{check}}", r#"sum by (check) (rate(probe_duration_seconds_bucket{service="$service",le="0.1"}[$__rate_interval])) / sum by (check) (rate(probe_duration_seconds_count{service="$service"}[$__rate_interval]))"#)
            .steps(OBJECTIVE).decimals(3).share().runbook("WatchkeepSloBudgetBurnFast"),
        areas("Probes", "ops", "Per second, by check.")
            .ask("{{check}}", r#"sum by (check) (rate(probe_duration_seconds_count{service="$service"}[$__rate_interval]))"#).runbook("WatchkeepProbesMissed"),
        lines("Instances that fail", "short", "Instances for which some collector's last probe failed, of those that are probed.")
            .ask("fail", or_zero(r#"count(min by (exported_instance) (probe_success{service="$service"}) == 0)"#, r#"probe_success{service="$service"}"#))
            .ask("probed", r#"count(count by (exported_instance) (probe_success{service="$service"}))"#)
            .runbook("InstanceCritical"),
    ]
}

fn done() -> Vec<Panel> {
    let led = "watchkeep_alerting_is_leader";
    vec![
        lines("Collectors contradict each other", "short", "Instances of the service on which they do. Shortly around a fault that is normal; for long it is a bad network.")
            .ask("instances", or_zero(r#"max(watchkeep_alerting_opinion_disagreement{service="$service"})"#, led))
            .steps(FEW).runbook("WatchkeepCollectorsDisagree"),
        lines("Not believed", "short", "1 while so much of the service seems critical at once that nothing is failed over (panic).")
            .ask("panic", or_zero(r#"max(watchkeep_alerting_panics{service="$service"})"#, led))
            .steps(NONE).runbook("ServicePanic"),
        lines("Failovers of all services", "short", "On record, by state: a service's own are on its page.")
            .ask("{{state}}", max("state", "watchkeep_alerting_failovers")).runbook("FailoverFailed"),
        areas("Verdict changes of all services", "short", "In the time shown, by new status.")
            .ask("{{status}}", count("status", "watchkeep_alerting_verdict_changes_total")).runbook("InstanceCritical"),
    ]
}
