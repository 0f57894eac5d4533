//! Alerting and on-call: who decides, what is open, and does it reach somebody?

use super::{
    board::{
        Board, FEW, LATENCY, NONE, Panel, SOME, Services, Steps, areas, lines, name, stat, states,
    },
    query::{count, max, or_zero, quantile, quantile_of_range, rate},
};

const READING: &str = r#"
**One leader** decides; what it decides is in the registry before anything is sent, so a change of leader loses nothing. **Open incidents** are somebody's: `watchkeep incident list` says whose.
**Does it arrive?** *Attempts* that fail are tried again; *Pages that wait* for long, or *Notifications not delivered*, mean that somebody does not know.
**Rules** are evaluated by the leader; a group that takes longer than its interval comes late. The last row is Alertmanager's part and has data where an `alertmanager.yml` is in force.
"#;

/// Seconds until somebody may not know what he should.
const DELAY: Steps = &[("green", None), ("orange", Some(60.0)), ("red", Some(300.0))];

pub(super) fn board() -> Board {
    let board = Board {
        name: "alerting",
        title: "Alerting and on-call",
        description: "Who decides, what is open, and does it reach somebody?",
        metric: "watchkeep_alerting_is_leader",
        reading: READING,
        services: Services::No,
        rows: Vec::new(),
    };
    board
        .row("At a glance", glance())
        .row("Verdicts and decisions", decisions())
        .row("Incidents and pages", pages())
        .row("What is kept quiet", quiet())
        .row("Rules", rules())
        .row("In place of Alertmanager", alertmanager())
}

fn glance() -> Vec<Panel> {
    vec![
        name("Alerting leader", "Who decides, pages and fails over. Nobody: that comes first.")
            .ask("{{instance}}", "max by (instance) (watchkeep_alerting_is_leader) == 1").runbook("WatchkeepNoAlertingLeader"),
        stat("Critical instances", "short", "By verdict of the quorum.").ask("", r#"max(watchkeep_alerting_verdicts{status="critical"})"#).steps(NONE).runbook("InstanceCritical"),
        stat("Incidents nobody has taken", "short", "Triggered, and not acknowledged.")
            .ask("", r#"max(watchkeep_alerting_incidents{status="triggered"})"#).steps(NONE).runbook("InstanceCritical"),
        stat("Pages that wait", "short", "Still to be delivered.").ask("", "max(watchkeep_alerting_pending_pages)").steps(FEW).runbook("WatchkeepNotificationsFailing"),
        stat("Alerts that fire", "short", "Of rules.").ask("", r#"max(watchkeep_alerting_rule_alerts{state="firing"})"#).steps(FEW).runbook("WatchkeepRulesFailing"),
        stat("Dead man's switch", "short", "Calls that got through in the time shown. None: the outside world takes Watchkeep for dead, or none is configured.")
            .ask("", r#"sum(increase(watchkeep_alerting_dead_man_calls_total{result="delivered"}[$__range]))"#)
            .decimals(0).runbook("WatchkeepNotificationsFailing"),
    ]
}

fn decisions() -> Vec<Panel> {
    vec![
        states("Alerting leader over time", "Who decides.", &[("waits", "super-light-blue"), ("leads", "green")])
            .ask("{{instance}}", max("instance", "watchkeep_alerting_is_leader")).size(8, 7).runbook("WatchkeepNoAlertingLeader"),
        lines("Changes of leader", "short", "Alerting leaders that took office in the time shown, as each node saw them.")
            .ask("{{instance}}", count("instance", "watchkeep_alerting_leader_changes_total")).runbook("WatchkeepNoAlertingLeader"),
        areas("Instances by verdict", "short", "What the collectors' quorum holds of each instance.")
            .ask("{{status}}", max("status", "watchkeep_alerting_verdicts")).runbook("InstanceCritical"),
        areas("Verdict changes", "short", "In the time shown, by new status.")
            .ask("{{status}}", count("status", "watchkeep_alerting_verdict_changes_total")).runbook("InstanceCritical"),
        lines("From opinion to decision", "s", "99th percentile in the time shown, from an opinion's arrival to the committed decision.")
            .ask("99 %", quantile_of_range("0.99", "", "watchkeep_alerting_decision_seconds")).steps(LATENCY).runbook("WatchkeepSlowRequests"),
        lines("Evaluations", "ops", "Instances per second whose opinions were weighed.")
            .ask("{{instance}}", rate("instance", "watchkeep_alerting_evaluations_total")),
        lines("Time of an evaluation", "s", "99th percentile in the time shown, of weighing the opinions on one instance.")
            .ask("99 %", quantile_of_range("0.99", "", "watchkeep_alerting_evaluation_seconds")).steps(LATENCY),
    ]
}

fn pages() -> Vec<Panel> {
    vec![
        areas("Incidents", "short", "On record, by status.")
            .ask("{{status}}", max("status", "watchkeep_alerting_incidents"))
            .runbook("InstanceCritical"),
        areas("Attempts to page", "short", "In the time shown, by channel and result.")
            .ask(
                "{{channel}} {{result}}",
                count("channel, result", "watchkeep_alerting_notifications_total"),
            )
            .runbook("WatchkeepNotificationsFailing"),
        lines("Time of an attempt", "s", "99th percentile in the time shown, by channel.")
            .ask(
                "{{channel}}",
                quantile_of_range("0.99", "channel", "watchkeep_alerting_notification_seconds"),
            )
            .runbook("WatchkeepNotificationsFailing"),
        lines(
            "Pages that wait over time",
            "short",
            "Still to be delivered, as the leader sees it.",
        )
        .ask("waiting", max("", "watchkeep_alerting_pending_pages"))
        .steps(FEW)
        .runbook("WatchkeepNotificationsFailing"),
        lines(
            "Oldest page that waits",
            "s",
            "Time for which the oldest page has been due and is not delivered.",
        )
        .ask("oldest", max("", "watchkeep_alerting_oldest_pending_page_seconds"))
        .steps(DELAY)
        .runbook("WatchkeepNotificationsDelayed"),
        areas(
            "Calls of the dead man's switch",
            "short",
            "Calls in the time shown, by result. They stop when Watchkeep does: that is the alarm.",
        )
        .ask("{{result}}", count("result", "watchkeep_alerting_dead_man_calls_total"))
        .runbook("WatchkeepNotificationsFailing"),
    ]
}

fn quiet() -> Vec<Panel> {
    let led = "watchkeep_alerting_is_leader";
    vec![
        areas("Kept quiet", "short", "Critical instances that nobody is told of, by reason.")
            .ask("{{reason}}", max("reason", "watchkeep_alerting_silenced")),
        lines("Maintenance windows", "short", "That are open, as the leader sees it.").ask("open", max("", "watchkeep_alerting_maintenance_windows_open")),
        lines("Not believed", "short", "Services so much of which seems critical at once that nothing is failed over.")
            .ask("in panic", or_zero("count(max by (service) (watchkeep_alerting_panics))", led)).steps(NONE).runbook("ServicePanic"),
        lines("Collectors contradict each other", "short", "Instances on which they do, by service. Shortly around a fault that is normal; for long it is a bad network.")
            .ask("{{service}}", or_zero("max by (service) (watchkeep_alerting_opinion_disagreement)", led)).steps(FEW).runbook("WatchkeepCollectorsDisagree"),
        lines("Collectors outvoted", "short", "Checks on which a collector stands against the others: whose network is bad.")
            .ask("{{collector}}", or_zero("max by (collector) (watchkeep_alerting_opinions_outvoted)", led)).steps(FEW).runbook("WatchkeepCollectorsDisagree"),
    ]
}

fn rules() -> Vec<Panel> {
    vec![
        areas("Alerts of rules", "short", "Pending and firing, as the leader sees them.").ask("{{state}}", max("state", "watchkeep_alerting_rule_alerts")),
        lines("Evaluations of rules", "ops", "By group.").ask("{{rule_group}}", rate("rule_group", "prometheus_rule_evaluations_total")),
        lines("Failed and missed", "ops", "Evaluations that did not go well, and those left out because the one before took too long.")
            .ask("{{rule_group}} failed", rate("rule_group", "prometheus_rule_evaluation_failures_total"))
            .ask("{{rule_group}} missed", rate("rule_group", "prometheus_rule_group_iterations_missed_total"))
            .steps(FEW).runbook("WatchkeepRulesFailing").runbook("WatchkeepRulesMissed"),
        lines("Groups: time of the interval", "percentunit", "Share of its interval that a group's last evaluation took. At 1 evaluations are left out.")
            .ask("{{rule_group}}", "max by (rule_group) (prometheus_rule_group_last_duration_seconds / prometheus_rule_group_interval_seconds)")
            .share().steps(&[("green", None), ("orange", Some(0.5)), ("red", Some(1.0))]).runbook("WatchkeepRulesMissed"),
        lines("Time of a rule", "s", "99th percentile of one rule's evaluation.")
            .ask("99 %", quantile("0.99", "", "prometheus_rule_evaluation_duration_seconds")).steps(LATENCY).runbook("WatchkeepRulesMissed"),
        stat("Rule files are right", "bool_yes_no", "Whether the rule files were right on every node when they were last read. If not, the rules from before are in force.")
            .ask("", "min(watchkeep_alerting_rules_last_reload_successful)").steps(SOME).runbook("WatchkeepRulesNotReloaded").size(8, 7),
    ]
}

fn alertmanager() -> Vec<Panel> {
    vec![
        areas("Alerts received", "ops", "Posted, by status, and refused ones.")
            .ask("{{status}}", rate("status", "alertmanager_alerts_received_total"))
            .ask("refused", rate("", "alertmanager_alerts_invalid_total")),
        areas("Notifications", "short", "That were to be delivered in the time shown, by integration.")
            .ask("{{integration}}", count("integration", "alertmanager_notifications_total")),
        lines("Notifications not delivered", "short", "In the time shown: not delivered before their group's next look. They are tried again.")
            .ask("{{integration}}", count("integration", "alertmanager_notifications_failed_total")).steps(NONE).runbook("WatchkeepNotificationsFailing"),
        lines("Attempts", "short", "To deliver a notification in the time shown, and those that failed.")
            .ask("{{integration}}", count("integration", "alertmanager_notification_requests_total"))
            .ask("{{integration}} failed", count("integration", "alertmanager_notification_requests_failed_total")).runbook("WatchkeepNotificationsFailing"),
        lines("Time of an attempt to notify", "s", "99th percentile in the time shown, by integration.")
            .ask("{{integration}}", quantile_of_range("0.99", "integration", "alertmanager_notification_latency_seconds")),
        areas("Notifications on their way", "short", "To be written down, and being sent; over all nodes.")
            .ask("{{state}}", "sum by (state) (watchkeep_alerting_notification_queue_length)").runbook("WatchkeepNotificationsDelayed"),
        lines("Oldest notification on its way", "s", "Time since it was decided, by node.")
            .ask("{{instance}}", max("instance", "watchkeep_alerting_notification_queue_oldest_seconds")).steps(DELAY).runbook("WatchkeepNotificationsDelayed"),
        lines("Groups", "short", "Groups of alerts that each node tells people of.").ask("{{instance}}", max("instance", "alertmanager_dispatcher_aggregation_groups")),
        stat("Configuration is right", "bool_yes_no", "Whether the last reload succeeded on every node. If not, the one from before is in force.")
            .ask("", "min(alertmanager_config_last_reload_successful)").steps(SOME),
        stat("Configuration taken", "s", "Time since it was last taken, on the node where that is longest ago.")
            .ask("", "time() - min(alertmanager_config_last_reload_success_timestamp_seconds)"),
        states("Registry lost", "While it is, each node tells people by itself, and they may be told twice.", &[("reached", "green"), ("lost", "red")])
            .ask("{{instance}}", max("instance", "watchkeep_alerting_registry_lost")).size(12, 4).runbook("WatchkeepNoLeader"),
        lines("Registry silent", "s", "Time since it last answered a node, which asks once a second.")
            .ask("{{instance}}", "time() - max by (instance) (watchkeep_alerting_registry_answer_timestamp_seconds{job=~\"$job\",instance=~\"$instance\"} > 0)").size(12, 4).runbook("WatchkeepNoLeader"),
    ]
}
