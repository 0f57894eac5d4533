//! Marks on the way from times to revisions: while anything changes, the leader writes the time once a second.
//!
//! Whoever asks how things were looks for the last mark before that time in the registry's history, and reads at its
//! revision. While nothing changes no mark is written, since the last one still says all.

use watchkeep_catalog::{
    Client, Clock, Time,
    client::{Compare, Op, Txn},
    keys,
};

use crate::mirror::Mirror;

/// The mark that is due, and the revision of the one before it; none when nothing has changed since.
pub(super) fn due(mirror: &Mirror, now: Time) -> Option<(Clock, i64)> {
    let known = mirror.clock.as_ref();
    let revision = known.map_or(0, |clock| clock.mod_revision);
    // A clock that was set back does not turn the order round.
    let time = known.map_or(now, |clock| now.max(clock.record.time));
    (mirror.changed > revision).then_some((Clock { time }, revision))
}

/// Writes it, if this node leads and nobody else has. What goes wrong is mended by the next one.
pub(super) async fn write(client: &Client, fence: i64, mark: Clock, revision: i64) {
    let Ok(put) = Op::put_json(keys::CLOCK, &mark) else { return };
    let txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::mod_revision(keys::CLOCK, revision))
        .then(put);
    if let Err(error) = client.txn(txn).await {
        tracing::debug!(%error, "the time is not marked");
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::{KeyValue, client::Change};

    use super::*;
    use crate::fixtures::{instance, time};

    fn put<T: serde::Serialize>(mirror: &mut Mirror, key: &str, record: &T, revision: i64) {
        let value = serde_json::to_vec(record).unwrap().into();
        let kv = KeyValue {
            key: key.to_owned(),
            value,
            create_revision: 1,
            mod_revision: revision,
            version: 1,
            lease: 0,
        };
        mirror.apply(Change::Put(kv));
    }

    #[test]
    fn only_when_something_has_changed() {
        let mut mirror = Mirror::default();
        assert_eq!(due(&mirror, time(0)), None);
        put(&mut mirror, &keys::instance("web", "a"), &instance("web", "a"), 5);
        assert_eq!(due(&mirror, time(1)), Some((Clock { time: time(1) }, 0)));
        put(&mut mirror, keys::CLOCK, &Clock { time: time(1) }, 6);
        assert_eq!(due(&mirror, time(2)), None);
        mirror.apply(Change::Delete { key: keys::instance("web", "a"), revision: 7 });
        assert_eq!(due(&mirror, time(3)), Some((Clock { time: time(3) }, 6)));
        // The clock was set back.
        assert_eq!(due(&mirror, time(0)), Some((Clock { time: time(1) }, 6)));
    }
}
