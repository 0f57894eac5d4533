//! The promise to the users: 99.99 % available, answers within 100 ms; how much may still go wrong?

use super::{
    board::{BUDGET, BURN, Board, LATENCY, OBJECTIVE, Panel, Services, areas, bars, lines},
    query::{or_zero, quantile_of_range, rate},
};

const READING: &str = r#"
**An objective** allows a share of bad probes; that share is the *error budget*: 0.01 % of 30 days is 259 s. *Budget left* says what remains; below 0 the promise of the window is broken.
**The burn rate** says how quickly it goes: 1 spends it exactly in the window, 14.4 spends 2 % of a month's in an hour and wakes somebody, 3 over a day opens a ticket.
Exported by the alerting leader alone; queries take the maximum over nodes, so that a change of leader does not show.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "slo",
        title: "SLO",
        description: "Was the promise kept, how much may still go wrong, and how quickly is it used up?",
        metric: "watchkeep_slo_objective",
        reading: READING,
        services: Services::Many,
        rows: Vec::new(),
    };
    board
        .row("Budgets", budgets())
        .row("Burn rates", burns())
        .row("Objectives", objectives())
        .row("The report itself", report())
}

fn budgets() -> Vec<Panel> {
    vec![
        bars("Available in 30 days", "percentunit", "Share of probes that succeeded, by service. The promise is 99.99 % unless the service says otherwise.")
            .ask("{{service}}", of("max by (service)", "availability_ratio", r#",window="30d""#)).steps(OBJECTIVE).decimals(3).runbook("WatchkeepSloBudgetBurnSlow"),
        bars("In time in 30 days", "percentunit", "Share of probes that succeeded within the latency objective, 100 ms unless the service says otherwise.")
            .ask("{{service}}", of("max by (service)", "latency_ratio", r#",window="30d""#)).steps(OBJECTIVE).decimals(3).runbook("WatchkeepSloBudgetBurnSlow"),
        bars("Error budget left in 30 days", "percentunit", "1 is all of it, 0 none; below it the objective of the window was missed.")
            .ask("{{service}} {{slo}}", of("min by (service, slo)", "error_budget_remaining_ratio", r#",window="30d""#)).steps(BUDGET).decimals(2).runbook("WatchkeepSloBudgetBurnSlow"),
        bars("Down in 30 days", "s", "Time during which no serving instance was up and one was known bad. 99.99 % leave 259 s.")
            .ask("{{service}}", of("max by (service)", "downtime_seconds", r#",window="30d""#))
            .steps(&[("green", None), ("orange", Some(1.0)), ("red", Some(259.2))]).decimals(1).runbook("InstanceCritical"),
        lines("Budget left over time", "percentunit", "Of 30 days. A slope that stays means that something keeps failing; a step is one fault.")
            .ask("{{service}} {{slo}}", of("min by (service, slo)", "error_budget_remaining_ratio", r#",window="30d""#)).steps(BUDGET).share().size(24, 8).runbook("WatchkeepSloBudgetBurnSlow"),
    ]
}

fn burns() -> Vec<Panel> {
    vec![
        lines("Burn rate, availability", "short", "Share of bad probes over the share that the objective allows, by window.")
            .ask("{{service}} {{window}}", of("max by (service, window)", "burn_rate", r#",slo="availability""#)).steps(BURN).size(12, 8)
            .runbook("WatchkeepSloBudgetBurnFast").runbook("WatchkeepSloBudgetBurnSlow"),
        lines("Burn rate, latency", "short", "Share of probes that failed or were too slow over the share that the objective allows, by window.")
            .ask("{{service}} {{window}}", of("max by (service, window)", "burn_rate", r#",slo="latency""#)).steps(BURN).size(12, 8)
            .runbook("WatchkeepSloBudgetBurnFast").runbook("WatchkeepSloBudgetBurnSlow"),
        lines("Available in the last hour", "percentunit", "Share of probes that succeeded.")
            .ask("{{service}}", of("max by (service)", "availability_ratio", r#",window="1h""#)).steps(OBJECTIVE).decimals(3).share().size(12, 7).runbook("WatchkeepSloBudgetBurnFast"),
        lines("In time in the last hour", "percentunit", "Share of probes that succeeded within the latency objective.")
            .ask("{{service}}", of("max by (service)", "latency_ratio", r#",window="1h""#)).steps(OBJECTIVE).decimals(3).share().size(12, 7).runbook("WatchkeepSloBudgetBurnFast"),
    ]
}

fn objectives() -> Vec<Panel> {
    vec![
        lines(
            "What is promised",
            "percentunit",
            "Share of probes that must be good. A change of it shows here.",
        )
        .ask("{{service}} {{slo}}", of("max by (service, slo)", "objective", ""))
        .decimals(3)
        .share()
        .size(12, 7),
        lines("What counts as in time", "s", "Slowest probe that counts as in time, by service.")
            .ask("{{service}}", of("max by (service)", "latency_objective_seconds", ""))
            .size(12, 7),
    ]
}

fn report() -> Vec<Panel> {
    vec![
        lines("Time of a report", "s", "99th percentile in the time shown of bringing one service's report up to date and computing it.")
            .ask("{{instance}}", quantile_of_range("0.99", "instance", "watchkeep_slo_report_seconds")).steps(LATENCY).size(12, 7),
        areas("Day records written", "ops", "Roll-ups to the registry by outcome. Fenced: another node leads by now. Failed ones are written again.")
            .ask("{{result}}", or_zero(&rate("result", "watchkeep_slo_rollups_total"), "watchkeep_slo_objective")).size(12, 7).runbook("WatchkeepNoLeader"),
    ]
}

/// One of the gauges, for the services that are shown.
fn of(aggregate: &str, gauge: &str, matchers: &str) -> String {
    format!(r#"{aggregate} (watchkeep_slo_{gauge}{{service=~"$service"{matchers}}})"#)
}
