//! Records for this crate's unit tests.

use std::sync::Arc;

use watchkeep_catalog::{Check, Instance, Opinion, Status, TcpCheck, Time};

/// Nobody has measured anything.
pub(crate) struct NoSamples;

impl crate::source::Source for NoSamples {
    fn select<'a>(
        &'a self,
        _: &'a str,
        _: i64,
        _: i64,
    ) -> futures::future::BoxFuture<'a, Result<Vec<crate::SeriesData>, crate::SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// `seconds` after a Monday's nine o'clock.
pub(crate) fn time(seconds: i64) -> Time {
    let monday: Time = "2026-01-05T09:00:00Z".parse().expect("a valid instant");
    monday + chrono::TimeDelta::seconds(seconds)
}

/// A primary with one TCP check named `tcp`.
pub(crate) fn instance(service: &str, id: &str) -> Instance {
    Instance {
        service: service.to_owned(),
        id: id.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 5432,
        zone: String::new(),
        role: "primary".to_owned(),
        weight: 1,
        tags: Vec::new(),
        metadata: std::collections::BTreeMap::new(),
        checks: vec![Arc::new(Check {
            name: "tcp".to_owned(),
            interval_ms: 1_000,
            timeout_ms: 500,
            rise: 1,
            fall: 2,
            tcp: Some(Box::new(TcpCheck::default())),
            ..Check::default()
        })],
        scrape: None,
    }
}

/// An opinion formed at [`time`]`(seconds)`.
pub(crate) fn opinion(status: Status, seconds: i64) -> Opinion {
    Opinion {
        status,
        since: time(seconds),
        first_seen: time(seconds),
        reason: format!("reason {seconds}"),
        flapping: false,
        trace_parent: None,
    }
}

/// What one collector's opinion amounts to.
pub(crate) fn tally(status: Status, seconds: i64) -> crate::verdict::Tally {
    let opinion = opinion(status, seconds);
    crate::verdict::tally(&instance("web", "web-1"), &[("tcp", &opinion)], jury())
        .expect("one opinion")
}

/// A majority of whoever is heard.
pub(crate) fn jury() -> crate::verdict::Jury {
    crate::verdict::Jury::new(watchkeep_catalog::Quorum::Majority, 1, 1)
}

/// Bob, then Alice on call, a receiver, and two policies.
pub(crate) fn rules() -> crate::rules::Rules {
    let config: crate::AlertingConfig = serde_json::from_value(serde_json::json!({
        "smtp": {"host": "127.0.0.1", "from": "watchkeep@example.org"},
        "people": [
            {"name": "alice", "email": "alice@example.org", "webhook": "http://127.0.0.1:1/alice"},
            {"name": "bob", "email": "bob@example.org"},
        ],
        "receivers": [{"name": "ops", "webhook": "http://127.0.0.1:1/ops"}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05",
                       "rotation": ["bob", "alice"]}],
        "pages": {"schedule": "primary", "receivers": ["ops"]},
        "failover": [
            {"name": "any-primary", "when": {"role": "primary", "service": "db"},
             "callback": {"url": "http://127.0.0.1:1/db"}},
            {"name": "second", "when": {"service": "db"}, "callback": {"url": "http://127.0.0.1:1/2"}},
        ],
    }))
    .expect("settings");
    crate::rules::Rules::new(&config).expect("valid schedules")
}

/// What is decided when `db/one` fails at [`time`]`(0)`.
fn opened() -> crate::decide::Decision {
    let (target, opinion) = (crate::mirror::Target::new("db", "one"), opinion(Status::Critical, 0));
    let view = crate::decide::View {
        target: &target,
        instance: Some(&instance("db", "one")),
        opinions: vec![("tcp", &opinion)],
        verdict: None,
        open: None,
        jury: jury(),
        quiet: None,
        hold: crate::decide::Hold::Free,
        node: "node-1",
        stopped: false,
    };
    crate::decide::decide(&view, &rules(), time(2)).expect("a decision")
}

/// Its incident.
pub(crate) fn opened_incident() -> watchkeep_catalog::Incident {
    opened().incident.expect("an incident")
}

/// Its failover.
pub(crate) fn opened_failover() -> watchkeep_catalog::Failover {
    opened().failover.expect("a failover")
}
