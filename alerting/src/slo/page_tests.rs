//! The pages, and the numbers on them.

use super::*;
use crate::slo::{Bucket, Cause, DowntimeSum, Objective, time::instant};

#[test]
fn a_share_is_not_rounded_up() {
    for (ratio, text) in [
        (Some(1.0), "100 %"),
        (Some(0.9999), "99.99 %"),
        (Some(0.999_999_9), "99.9999 %"),
        (Some(0.0), "0 %"),
        (Some(-0.123_456), "-12.3456 %"),
        (Some(-1.5), "-150 %"),
        (Some(-32.834_586), "-3284 %"),
        (None, "–"),
    ] {
        assert_eq!(percent(ratio), text);
    }
}

#[test]
fn durations() {
    for (seconds, text) in [
        (0.0, "0 s"),
        (0.42, "420 ms"),
        (2.04, "2.0 s"),
        (59.9, "1 min 0 s"),
        (200.0, "3 min 20 s"),
        (3_900.0, "1 h 5 min"),
        (183_600.0, "2 d 3 h"),
    ] {
        assert_eq!(duration(seconds), text);
    }
}

fn report() -> Report {
    let now = 1_780_000_000_000;
    let probes = Bucket { total: 20_000, good: 19_995, fast: 19_990, excluded: 0 };
    let window = |window: Window| WindowReport {
        window,
        from: instant(window.start(now)),
        to: instant(now),
        probes,
        availability: Budget::of(probes.total, probes.good, 0.9999, 86_400.0),
        latency: Budget::of(probes.total, probes.fast, 0.999, 86_400.0),
        downtime: DowntimeSum { count: 1, seconds: 5.0 },
    };
    let down = Interval {
        start: instant(now - 5_000),
        end: None,
        ongoing: true,
        duration_seconds: 5.0,
        cause: Cause {
            instance: Some("web-1".to_owned()),
            reason: Some("<script>alert(1)</script>".to_owned()),
            incident: Some("inc-1".to_owned()),
            failover: None,
        },
    };
    Report {
        service: "web".to_owned(),
        as_of: instant(now),
        state: State::Down,
        objective: Objective { availability: 0.9999, latency_ms: 100 },
        known_from: Some(instant(now - 7_200_000)),
        windows: Window::ALL.map(window).to_vec(),
        burn: Vec::new(),
        downtimes: vec![down],
        maintenance: Vec::new(),
        no_data: Vec::new(),
    }
}

/// One tag per line, for a diff that can be read.
fn lines(html: &str) -> String {
    html.replace(STYLE, "…").replace("><", ">\n<")
}

#[test]
fn the_page_of_a_service() {
    let html = one(&report());
    assert!(!html.contains("<script"), "what a probe says is escaped");
    insta::assert_snapshot!(lines(&html));
}

#[test]
fn the_list() {
    let mut report = report();
    report.windows.remove(0);
    let html = list(Window::Day, &[report], 1_780_000_000_000);
    insta::assert_snapshot!(lines(&html));
    assert!(list(Window::Day, &[], 0).contains("No service is registered yet."));
}

#[test]
fn a_document_promises_nothing_that_is_probed() {
    let mut report = Report { service: "openslo.checkout".to_owned(), ..report() };
    let html = one(&report);
    assert!(html.contains("99.99 % of events are good"), "{html}");
    report.windows.remove(0);
    let list = list(Window::Day, &[report], 1_780_000_000_000);
    for probed in ["Within 100 ms", ">DOWN<", "5.0 s in"] {
        assert!(!html.contains(probed) && !list.contains(probed), "{probed}: {html} {list}");
    }
}
