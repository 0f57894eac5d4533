//! The ratio alerts as rules of one group, evaluated by each side itself.

use std::time::{Duration, Instant};

use super::{
    Effort, INSTANCES, Run, row,
    side::{NO_RULES, Side},
};

const GROUP: &str = "ratios";
/// Longer than a round takes.
const INTERVAL: Duration = Duration::from_secs(10);
/// Between two looks: each costs the server a page of metrics.
const PAUSE: Duration = Duration::from_millis(500);
/// A round that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// CPU and time of a round, of each side while the other has no rules. All rules look at one time, the end of the samples,
/// however long it took to come here.
pub(crate) async fn measure(sides: &mut [Side; 2], effort: Effort, at_ms: i64) {
    let services = effort.series / INSTANCES / 2;
    let text = rules(services, at_ms);
    let mut runs = [Run::default(); 2];
    for (side, run) in sides.iter_mut().zip(&mut runs) {
        // What it takes without rules.
        let (idle_cpu, begun) = (side.cpu_seconds(), Instant::now());
        tokio::time::sleep(INTERVAL).await;
        let idle = (side.cpu_seconds() - idle_cpu) / begun.elapsed().as_secs_f64();
        side.load_rules(&text).await;
        // The first round warms up.
        rounds(side, services).await;
        let (cpu, begun) = (side.cpu_seconds(), Instant::now());
        for round in 0..effort.rounds {
            tokio::time::sleep(INTERVAL / 2).await;
            rounds(side, services * (round + 2)).await;
            run.wall_s += side.of_group("prometheus_rule_group_last_duration_seconds", GROUP).await;
        }
        run.cpu_s = side.cpu_seconds() - cpu - idle * begun.elapsed().as_secs_f64();
        side.load_rules(NO_RULES).await;
    }
    let [ours, theirs] = runs;
    let per_round = |sum: f64| sum / effort.rounds as f64;
    let name = format!("{services} alerts in one group, a round, CPU s");
    row(&name, per_round(ours.cpu_s), per_round(theirs.cpu_s));
    row("  the round, s", per_round(ours.wall_s), per_round(theirs.wall_s));
}

fn rules(services: u64, at_ms: i64) -> String {
    let at = at_ms / 1_000;
    let rule = |n: u64| {
        let rate =
            |metric: &str| format!("sum(rate({metric}{{service=\"service-{n}\"}}[5m] @ {at}))");
        let expr = format!("{} / {} > 0.5", rate("errors_total"), rate("requests_total"));
        format!("  - {{alert: ManyErrors{n}, expr: '{expr}', labels: {{severity: warning}}}}\n")
    };
    let rules: String = (0..services).map(rule).collect();
    format!("groups:\n- name: {GROUP}\n  interval: {}s\n  rules:\n{rules}", INTERVAL.as_secs())
}

/// Waits until so many rules have been evaluated, and the group's round is over.
async fn rounds(side: &Side, evaluations: u64) {
    let begun = Instant::now();
    while side.of_group("prometheus_rule_evaluations_total", GROUP).await < evaluations as f64 {
        assert!(begun.elapsed() < PATIENCE, "{evaluations} evaluations are not made");
        tokio::time::sleep(PAUSE).await;
    }
    // What follows the last rule: its duration is noted, changes are written.
    tokio::time::sleep(PAUSE).await;
}
