//! Failovers: what was decided, was it carried out, and how long did it take?

use super::{
    board::{Board, LATENCY, NONE, Panel, Services, areas, lines, stat, states},
    query::{count, max, or_zero, quantile_of_range},
};

const READING: &str = r#"
**A failover** is decided in the registry first, then its callback is called until it is taken: *pending*, then *delivered*, or *failed* when it was given up: then a person has to act.
**From fault to callback** is detection (interval × fall) and Watchkeep's own part; the latter is *From opinion to decision* and *Time of a callback*, together below 100 ms.
**Nothing happened?** *Kept quiet* and *Not believed* say what holds it back.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "failover",
        title: "Failover",
        description: "What was decided, was it carried out, how long did it take, and what holds it back?",
        metric: "watchkeep_alerting_is_leader",
        reading: READING,
        services: Services::No,
        rows: Vec::new(),
    };
    board
        .row("At a glance", glance())
        .row("How long", time())
        .row("What happened", happened())
        .row("What holds it back", held())
}

fn glance() -> Vec<Panel> {
    vec![
        stat("Under way", "short", "Failovers that are decided and not done.").ask("", r#"max(watchkeep_alerting_failovers{state="pending"})"#)
            .steps(&[("green", None), ("orange", Some(1.0))]).runbook("WatchkeepCallbacksFailing"),
        stat("Delivered", "short", "Failovers on record whose callback was taken.").ask("", r#"max(watchkeep_alerting_failovers{state="delivered"})"#),
        stat("Given up", "short", "Failovers on record that failed: a person had to act.").ask("", r#"max(watchkeep_alerting_failovers{state="failed"})"#)
            .steps(NONE).runbook("FailoverFailed"),
        stat("Failed attempts", "short", "Of callbacks, in the time shown.").ask("", r#"sum(increase(watchkeep_alerting_callbacks_total{result="failed"}[$__range]))"#)
            .steps(&[("green", None), ("orange", Some(1.0)), ("red", Some(3.0))]).decimals(0).runbook("WatchkeepCallbacksFailing"),
        stat("From fault to callback", "s", "99th percentile in the time shown: from the first failed probe to the delivered callback. With an interval of 1 s and fall 2 it should stay below 2.1 s.")
            .ask("", quantile_of_range("0.99", "", "watchkeep_alerting_fault_to_callback_seconds"))
            .steps(&[("green", None), ("red", Some(2.1))]).decimals(2).runbook("WatchkeepCallbacksFailing"),
        stat("Alerting leaders", "short", "Exactly one decides.").ask("", "sum(watchkeep_alerting_is_leader)")
            .steps(&[("red", None), ("green", Some(1.0)), ("red", Some(2.0))]).runbook("WatchkeepNoAlertingLeader"),
    ]
}

fn time() -> Vec<Panel> {
    let fault = "watchkeep_alerting_fault_to_callback_seconds";
    vec![
        lines("From fault to callback over time", "s", "Median and 99th percentile in the time shown.")
            .ask("50 %", quantile_of_range("0.5", "", fault)).ask("99 %", quantile_of_range("0.99", "", fault))
            .steps(&[("green", None), ("red", Some(2.1))]).runbook("WatchkeepCallbacksFailing"),
        lines("From opinion to decision", "s", "99th percentile in the time shown, from an opinion's arrival to the committed decision.")
            .ask("99 %", quantile_of_range("0.99", "", "watchkeep_alerting_decision_seconds")).steps(LATENCY).runbook("WatchkeepSlowRequests"),
        lines("Time of a callback", "s", "99th percentile in the time shown, of one attempt: mostly the receiver's.")
            .ask("99 %", quantile_of_range("0.99", "", "watchkeep_alerting_callback_seconds")).steps(LATENCY).runbook("WatchkeepCallbacksFailing"),
        lines("From the first step to the end", "s", "99th percentile in the time shown, of all steps of a failover together.")
            .ask("99 %", quantile_of_range("0.99", "", "watchkeep_alerting_failover_seconds")).runbook("FailoverFailed"),
    ]
}

fn happened() -> Vec<Panel> {
    vec![
        areas("Failovers", "short", "On record, by state.").ask("{{state}}", max("state", "watchkeep_alerting_failovers")).runbook("FailoverFailed"),
        areas("How they ended", "short", "Failovers that ended in the time shown, by policy and outcome.")
            .ask("{{policy}} {{outcome}}", or_zero(&count("policy, outcome", "watchkeep_alerting_failovers_over_total"), "watchkeep_alerting_is_leader")).runbook("FailoverFailed"),
        areas("Callbacks", "short", "Attempts in the time shown, by policy and result.")
            .ask("{{policy}} {{result}}", count("policy, result", "watchkeep_alerting_callbacks_total")).runbook("WatchkeepCallbacksFailing").runbook("FailoverFailed"),
        areas("Verdict changes", "short", "In the time shown, by new status: what failovers begin with.")
            .ask("{{status}}", count("status", "watchkeep_alerting_verdict_changes_total")).runbook("InstanceCritical"),
        states("Alerting leader over time", "A failover that a leader began is finished by the next one, with the same idempotency key.", &[("waits", "super-light-blue"), ("leads", "green")])
            .ask("{{instance}}", max("instance", "watchkeep_alerting_is_leader")).size(24, 5).runbook("WatchkeepNoAlertingLeader"),
    ]
}

fn held() -> Vec<Panel> {
    let led = "watchkeep_alerting_is_leader";
    vec![
        areas("Kept quiet", "short", "Critical instances for which nothing is done, by reason.")
            .ask("{{reason}}", max("reason", "watchkeep_alerting_silenced")),
        lines(
            "Not believed",
            "short",
            "Services so much of which seems critical at once that nothing is failed over.",
        )
        .ask("in panic", or_zero("count(max by (service) (watchkeep_alerting_panics))", led))
        .steps(NONE)
        .runbook("ServicePanic"),
        states(
            "Kill switch",
            "While failovers are stopped nothing is failed over: every fault is a person's.",
            &[("failovers act", "green"), ("stopped", "red")],
        )
        .ask("failovers", max("", "watchkeep_alerting_failover_stopped"))
        .size(8, 7)
        .runbook("WatchkeepFailoversStopped"),
        areas("Held by a guard", "short", "In the time shown, by policy and guard.")
            .ask(
                "{{policy}} {{guard}}",
                or_zero(&count("policy, guard", "watchkeep_alerting_failovers_held_total"), led),
            )
            .runbook("WatchkeepFailoversStopped"),
        lines("Maintenance windows", "short", "That are open: nothing is failed over in them.")
            .ask("open", max("", "watchkeep_alerting_maintenance_windows_open")),
    ]
}
