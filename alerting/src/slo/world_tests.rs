//! What the registry's changes amount to.

use serde_json::json;

use super::*;

fn kv(key: String, value: serde_json::Value) -> KeyValue {
    KeyValue {
        key,
        value: value.to_string().into(),
        create_revision: 1,
        mod_revision: 7,
        version: 1,
        lease: 0,
    }
}

fn instance(id: &str, role: &str) -> KeyValue {
    let record =
        json!({"service": "db", "id": id, "address": "127.0.0.1", "port": 1, "role": role});
    kv(keys::instance("db", id), record)
}

fn incident(id: &str, at: &str, status: &str) -> KeyValue {
    let record = json!({
        "id": id, "title": "db-1 is critical", "alert": "InstanceCritical", "severity": "critical",
        "labels": {"service": "db", "instance": "db-1"}, "status": status,
        "started_at": at, "opened_at": at,
    });
    kv(keys::incident(id), record)
}

#[test]
fn services_are_whatever_was_heard_of() {
    let mut world = World::default();
    world.apply(Topic::Instances, Change::Reset(vec![instance("db-1", "primary")], 1), 0);
    let slo = json!({"name": "web", "slo": {"availability": 0.99}});
    world.apply(Topic::Services, Change::Put(kv(keys::service("web"), slo)), 0);
    // Whoever writes past the API may write nonsense: it is passed over.
    world.apply(Topic::Services, Change::Put(kv(keys::service("\"}"), json!({"name": "x"}))), 0);
    world.apply(Topic::Services, Change::Put(kv(keys::service("bad"), json!(7))), 0);
    assert_eq!(world.services().into_iter().collect::<Vec<_>>(), ["db", "web"]);
    assert_eq!(world.target("web").and_then(|t| t.availability), Some(0.99));
    assert_eq!(world.target("db"), None);

    world.apply(
        Topic::Instances,
        Change::Delete { key: keys::instance("db", "db-1"), revision: 2 },
        0,
    );
    world.apply(Topic::Services, Change::Delete { key: keys::service("web"), revision: 3 }, 0);
    assert!(world.services().is_empty());
}

#[test]
fn ready_once_everything_was_read() {
    let mut world = World::default();
    for topic in Topic::ALL {
        assert!(!world.is_ready());
        world.apply(topic, Change::Reset(Vec::new(), 1), 0);
    }
    assert!(world.is_ready());
}

#[test]
fn a_promotion_counts_from_when_it_was_heard_of() {
    let mut world = World::default();
    world.apply(Topic::Instances, Change::Reset(vec![instance("db-2", "standby")], 1), 1_000);
    world.apply(Topic::Instances, Change::Put(instance("db-2", "primary")), 5_000);
    let roles = world.roles("db");
    assert!(!roles.serves_at("db-2", 4_999));
    assert!(roles.serves_at("db-2", 5_000));

    // After a restart the record tells what was before.
    let record = json!({
        "service": "db", "day": "1970-01-01", "hours": vec![json!({"total": 0, "good": 0, "fast": 0}); 24],
        "roles": roles.export(), "updated_at": "1970-01-01T00:00:10Z",
    });
    let mut restarted = World::default();
    let primary = Change::Reset(vec![instance("db-2", "primary")], 1);
    restarted.apply(Topic::Instances, primary, 60_000);
    let day = NaiveDate::default();
    let days = vec![kv(keys::slo_day("db", "1970-01-01"), record)];
    restarted.apply(Topic::Days, Change::Reset(days, 1), 60_000);
    assert_eq!(restarted.roles("db"), roles);
    assert_eq!(restarted.day("db", day).map(|s| s.mod_revision), Some(7));
    let tomorrow = NaiveDate::from_ymd_opt(1970, 1, 2).unwrap();
    assert_eq!(restarted.days_before(tomorrow, 9), [keys::slo_day("db", "1970-01-01")]);
    assert!(restarted.days_before(day, 9).is_empty());
    let key = keys::slo_day("db", "1970-01-01");
    restarted.apply(Topic::Days, Change::Delete { key, revision: 8 }, 60_000);
    assert_eq!(restarted.day("db", day), None);
}

#[test]
fn causes_in_the_order_of_time_and_each_once() {
    let mut world = World::default();
    let verdict = json!({
        "service": "db", "instance": "db-1", "status": "critical", "since": "1970-01-01T00:00:04Z",
        "first_seen": "1970-01-01T00:00:02Z", "reason": "tcp: refused", "agree": 1, "opinions": 1,
    });
    let late = incident("inc-2", "1970-01-01T00:01:00Z", "triggered");
    world.apply(Topic::Incidents, Change::Put(late), 0);
    world.apply(
        Topic::Incidents,
        Change::Put(incident("inc-1", "1970-01-01T00:00:02Z", "triggered")),
        0,
    );
    world.apply(
        Topic::Incidents,
        Change::Put(incident("inc-1", "1970-01-01T00:00:02Z", "resolved")),
        0,
    );
    world.apply(Topic::Verdicts, Change::Put(kv(keys::verdict("db", "db-1"), verdict)), 0);
    let causes = world.causes("db");
    let seen: Vec<_> =
        causes.iter().map(|(at, c)| (*at, c.incident.as_deref(), c.reason.as_deref())).collect();
    assert_eq!(
        seen,
        [
            (2_000, Some("inc-1"), None),
            (2_000, None, Some("tcp: refused")),
            (60_000, Some("inc-2"), None)
        ]
    );
}

#[test]
fn our_own_record_is_known_before_the_watch_tells() {
    let mut world = World::default();
    let record = DayRecord {
        service: "db".to_owned(),
        day: NaiveDate::default(),
        hours: Default::default(),
        downtimes: Vec::new(),
        maintenance: Vec::new(),
        latency: Default::default(),
        roles: BTreeMap::new(),
        updated_at: Default::default(),
    };
    world.wrote(record.clone(), 9);
    world.wrote(record.clone(), 8);
    assert_eq!(world.day("db", record.day).map(|s| s.mod_revision), Some(9));
}
