//! What events make of the mirror.

use bytes::Bytes;
use watchkeep_catalog::Status;

use super::*;
use crate::fixtures::{instance, opinion};

fn kv<T: serde::Serialize>(key: String, record: &T, mod_revision: i64) -> KeyValue {
    let value = Bytes::from(serde_json::to_vec(record).unwrap());
    KeyValue { key, value, create_revision: 1, mod_revision, version: 1, lease: 0 }
}

#[test]
fn follows_opinions_and_forgets_on_reset() {
    let mut mirror = Mirror::default();
    let web = Target::new("web", "web-1");
    let record = kv(keys::instance("web", "web-1"), &instance("web", "web-1"), 5);
    let touched = mirror.apply(Change::Reset(vec![record], 5));
    assert!(touched.targets.contains(&web));
    for (collector, revision) in [("a", 6), ("b", 7)] {
        let key = keys::opinion("web", "web-1", "tcp", collector);
        mirror.apply(Change::Put(kv(key, &opinion(Status::Critical, 0), revision)));
    }
    assert_eq!(mirror.heard(&web).len(), 2);
    let key = keys::opinion("web", "web-1", "tcp", "a");
    let touched = mirror.apply(Change::Delete { key, revision: 8 });
    assert!(touched.targets.contains(&web));
    assert_eq!((mirror.heard(&web).len(), mirror.revision), (1, 8));
    mirror.apply(Change::Reset(Vec::new(), 9));
    assert!(mirror.heard(&web).is_empty() && mirror.instances.is_empty());
}

#[test]
fn alerts_are_kept_where_policies_ask_for_them() {
    let json = r#"{"labels":{"alertname":"x"},"starts_at":"2026-01-05T09:00:00Z","updated_at":"2026-01-05T09:00:00Z"}"#;
    let alert: Alert = serde_json::from_str(json).unwrap();
    let put = kv(keys::alert(alert.fingerprint()), &alert, 5);
    let fingerprint = format!("{:016x}", alert.fingerprint());
    for keeps in [false, true] {
        let mut mirror = Mirror::new(Windows::default(), keeps);
        for change in [Change::Put(put.clone()), Change::Reset(vec![put.clone()], 6)] {
            mirror.apply(change);
            let fires = mirror.fires(&fingerprint, alert.starts_at);
            assert_eq!((mirror.alerts.len(), fires), (usize::from(keeps), keeps.then_some(true)));
        }
        assert_eq!(mirror.fires("0", alert.starts_at), keeps.then_some(false));
    }
}

#[test]
fn an_event_on_its_way_does_not_undo_what_was_written_since() {
    let mut mirror = Mirror::default();
    let web = Target::new("web", "web-1");
    let verdict = |status, seconds| {
        let tally = crate::fixtures::tally(status, seconds);
        crate::decide::verdict(&web, &tally, false, crate::fixtures::time(seconds))
    };
    let new =
        Versioned { record: verdict(Status::Critical, 2), create_revision: 1, mod_revision: 9 };
    mirror.set_verdict(&web, new.clone());
    mirror.apply(Change::Put(kv(keys::verdict("web", "web-1"), &verdict(Status::Passing, 1), 7)));
    mirror.apply(Change::Delete { key: keys::verdict("web", "web-1"), revision: 8 });
    assert_eq!(mirror.verdicts.get(&web), Some(&new));
    mirror.apply(Change::Reset(Vec::new(), 8));
    assert_eq!(mirror.verdicts.get(&web), Some(&new));
    mirror.apply(Change::Reset(Vec::new(), 9));
    assert!(mirror.verdicts.is_empty());
}

#[test]
fn what_cannot_be_read_is_ignored() {
    let mut mirror = Mirror::default();
    let touched = mirror.put(&kv(keys::instance("web", "web-1"), &"nonsense", 3));
    assert_eq!(touched, Touched::default());
    assert!(mirror.instances.is_empty());
}
