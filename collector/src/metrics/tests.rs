//! The metrics as a scrape sees them.

use std::{
    io::{ErrorKind, Write},
    process::{Command, Stdio},
};

use prometheus::{Encoder, TextEncoder};

use super::*;

fn id(service: &str, instance: &str) -> TargetId {
    TargetId::new(service, instance, "http")
}

fn render(registry: &Registry) -> String {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).expect("renders");
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn a_target_that_is_gone_leaves_nothing() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).expect("registers");
    for instance in ["a", "b"] {
        metrics.target(&id("web", instance), "http", "node-1", 2).probed(true, 0.1);
    }
    let text = render(&registry);
    for line in [
        r#"probe_success{check="http",collector="node-1",instance="a",service="web"} 1"#,
        r#"probe_duration_seconds_bucket{check="http",service="web",le="0.1"} 2"#,
        r#"watchkeep_collector_probes_total{kind="http",result="success"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    metrics.forget(&id("web", "a"), "node-1", false);
    let text = render(&registry);
    assert!(!text.contains(r#"instance="a""#) && text.contains("probe_duration_seconds_count"));
    metrics.forget(&id("web", "b"), "node-1", true);
    assert!(!render(&registry).contains("probe_success{"));
    assert!(!render(&registry).contains("probe_duration_seconds_count"));
}

#[test]
fn no_more_targets_than_allowed_have_series() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).expect("registers");
    let target = |instance| {
        let target = metrics.target(&id("web", instance), "http", "node-1", 1);
        target.probed(true, 0.1);
        target
    };
    let (first, second) = (target("a"), target("b"));
    let text = render(&registry);
    assert!(text.contains(r#"instance="a""#) && !text.contains(r#"instance="b""#), "{text}");
    assert!(text.contains("watchkeep_collector_targets_unlisted 1"), "{text}");
    assert!(text.contains(r#"watchkeep_collector_probes_total{kind="http",result="success"} 2"#));
    drop((first, second));
    let _third = target("c");
    let text = render(&registry);
    assert!(text.contains(r#"instance="c""#), "there is room again: {text}");
    assert!(text.contains("watchkeep_collector_targets_unlisted 0"), "{text}");
}

#[test]
fn promtool_has_nothing_to_say() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).expect("registers");
    metrics.target(&id("web", "a"), "http", "node-1", 1).probed(true, 0.05);
    metrics.opinion_changes.with_label_values(&["passing"]).inc();
    metrics.receiver("node-2").waiting(1, 1);
    metrics.scraped(true, 0.1);
    metrics.remote_requests.with_label_values(&["ok"]).inc();
    metrics.series.rejected.with_label_values(&["duplicate"]).inc();
    metrics.series.errors.with_label_values(&["flush"]).inc();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        promtool => promtool.expect("promtool runs"),
    };
    let text = render(&registry);
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("takes the text");
    let output = promtool.wait_with_output().expect("ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
