//! What the registry's changes amount to.

use serde_json::json;
use watchkeep_catalog::{KeyValue, client::Change};

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

fn holder(instance: &str, since: &str) -> KeyValue {
    let record = json!({
        "service": "db", "role": "primary", "instance": instance, "others": "standby", "since": since,
        "failover": "fo-1",
    });
    kv(keys::role("db", "primary"), record)
}

#[test]
fn whoever_was_given_the_role_counts_whatever_it_says_of_itself() {
    // In whatever order a node reads the registry, and if it has known all along.
    let instances = || vec![instance("db-1", "primary"), instance("db-2", "standby")];
    let given = || holder("db-2", "1970-01-01T00:00:05Z");
    for order in [["live", "", ""], ["instances", "roles", ""], ["roles", "instances", ""]] {
        let mut world = World::default();
        for step in order {
            match step {
                "live" => {
                    world.apply(Topic::Instances, Change::Reset(instances(), 1), 1_000);
                    world.apply(Topic::Roles, Change::Reset(Vec::new(), 1), 1_000);
                    world.apply(Topic::Roles, Change::Put(given()), 5_040);
                }
                "instances" => world.apply(Topic::Instances, Change::Reset(instances(), 1), 60_000),
                "roles" => world.apply(Topic::Roles, Change::Reset(vec![given()], 1), 60_010),
                _ => {}
            }
        }
        let served = |world: &World, id: &str, at: i64| world.roles("db").serves_at(id, at);
        for (id, at, serves) in [
            ("db-1", 4_999, true),
            ("db-1", 5_000, false),
            ("db-2", 4_999, false),
            ("db-2", 5_000, true),
            ("db-2", 90_000, true),
        ] {
            assert_eq!(served(&world, id, at), serves, "{order:?}: {id} at {at}");
        }
        // The old one comes back and still calls itself the primary; the new one calls itself so by now.
        world.apply(Topic::Instances, Change::Put(instance("db-1", "primary")), 100_000);
        world.apply(Topic::Instances, Change::Put(instance("db-2", "primary")), 100_000);
        assert!(!served(&world, "db-1", 100_000) && served(&world, "db-2", 100_000));
        // The role is given up: what instances say holds from then on.
        let key = keys::role("db", "primary");
        world.apply(Topic::Roles, Change::Delete { key, revision: 9 }, 200_000);
        assert!(served(&world, "db-1", 200_000) && !served(&world, "db-1", 199_999));
    }
}

#[test]
fn who_begins_after_a_failover_reads_in_its_journal_who_served_before() {
    // The failover has written the new roles into the instances' own records.
    let steps = json!([{
        "name": "promote", "kind": "promote", "state": "done", "started_at": "1970-01-01T00:00:05Z",
        "before": {"holder": "", "role of db-1": "primary", "role of db-2": "standby"},
    }]);
    let record = json!({
        "id": "fo-1", "policy": "db", "service": "db", "instance": "db-1", "reason": "", "state": "delivered",
        "decided_at": "1970-01-01T00:00:04Z", "incident": "", "steps": steps,
    });
    let orders = [
        ["instances", "roles", "failovers"],
        ["failovers", "instances", "roles"],
        ["roles", "failovers", "instances"],
        ["failovers", "roles", "instances"],
    ];
    for order in orders {
        let mut world = World::default();
        for (at, step) in (60_000..).zip(order) {
            let (topic, kvs) = match step {
                "instances" => {
                    let all = vec![instance("db-1", "standby"), instance("db-2", "primary")];
                    (Topic::Instances, all)
                }
                "roles" => (Topic::Roles, vec![holder("db-2", "1970-01-01T00:00:05Z")]),
                _ => (Topic::Failovers, vec![kv(keys::failover("fo-1"), record.clone())]),
            };
            world.apply(topic, Change::Reset(kvs, 1), at);
        }
        let served = |id: &str, at: i64| world.roles("db").serves_at(id, at);
        for (id, at, serves) in [
            ("db-1", 0, true),
            ("db-1", 4_998, true),
            ("db-1", 5_000, false),
            ("db-1", 90_000, false),
            ("db-2", 0, false),
            ("db-2", 4_998, false),
            ("db-2", 5_000, true),
            ("db-2", 90_000, true),
        ] {
            assert_eq!(served(id, at), serves, "{order:?}: {id} at {at}");
        }
    }
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
fn instances_that_are_long_gone_are_forgotten() {
    let mut world = World::default();
    let (stays, goes) = (instance("db-1", "standby"), instance("db-2", "standby"));
    world.apply(Topic::Instances, Change::Reset(vec![stays.clone(), goes], 1), 0);
    let key = keys::instance("db", "db-2");
    world.apply(Topic::Instances, Change::Delete { key, revision: 2 }, 1_000);
    let known = |world: &World| world.roles("db").export().into_keys().collect::<Vec<_>>();
    for (now, expected) in [
        (2_000, vec!["db-1", "db-2"]),
        // Its samples may still be counted.
        (2_000 + REMEMBERED_MS - 1, vec!["db-1", "db-2"]),
        (2_000 + REMEMBERED_MS, vec!["db-1"]),
    ] {
        world.forget(now);
        assert_eq!(known(&world), expected, "{now}");
    }
    assert_eq!(world.tags["db"].len(), 1);
    assert!(world.gone.is_empty());
    // One that came back in time is as if it had never been gone.
    world.apply(Topic::Instances, Change::Reset(Vec::new(), 3), 0);
    world.forget(3 * REMEMBERED_MS);
    world.apply(Topic::Instances, Change::Put(stays), 0);
    world.forget(5 * REMEMBERED_MS);
    assert_eq!(known(&world), ["db-1"]);
}

#[test]
fn a_rehearsal_causes_nothing() {
    let mut world = World::default();
    for (id, rehearsal) in [("fo-1", false), ("fo-2", true)] {
        let record = json!({
            "id": id, "policy": "db", "service": "db", "instance": "", "reason": "", "state": "delivered",
            "decided_at": "1970-01-01T00:00:02Z", "incident": "", "rehearsal": rehearsal,
        });
        world.apply(Topic::Failovers, Change::Put(kv(keys::failover(id), record)), 0);
    }
    let expected = Cause { failover: Some("fo-1".to_owned()), ..Cause::default() };
    assert_eq!(world.causes("db"), [(2_000, expected)]);
}

#[test]
fn our_own_record_is_known_before_the_watch_tells() {
    let mut world = World::default();
    let record = DayRecord {
        service: "db".to_owned(),
        day: NaiveDate::default(),
        hours: Default::default(),
        downtimes: Vec::new(),
        unlisted: BTreeMap::new(),
        maintenance: Vec::new(),
        latency: Default::default(),
        roles: BTreeMap::new(),
        updated_at: Default::default(),
    };
    world.wrote(record.clone(), 9);
    world.wrote(record.clone(), 8);
    assert_eq!(world.day("db", record.day).map(|s| s.mod_revision), Some(9));
}
