//! What nobody needs any more goes from the registry: alerts that are over and told, what was told long ago, silences
//! that ended long ago.

use std::collections::HashSet;

use chrono::TimeDelta;
use tracing::warn;
use watchkeep_catalog::{
    ClientError, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{board::Board, intake::RECORDS_PER_TXN_MAX, shared::Shared};
use crate::clock;

/// An alert that is over stays so long.
const ALERT_MINUTES: i64 = 15;
/// Silences that ended, and what was told, stay so long: Alertmanager's `--data.retention`.
const RETENTION_HOURS: i64 = 120;
/// Keys that go in one turn.
const KEYS_MAX: usize = 6_000;

/// Deletes while `fence` holds.
pub(crate) async fn run(shared: &Shared, fence: i64) {
    let keys = idle(&shared.board(), clock::now());
    for part in keys.chunks(RECORDS_PER_TXN_MAX) {
        let result = match delete(shared, fence, part).await {
            // One of them was heard of again, or another node leads: that one stays, and not the others for its sake.
            Ok(false) => singly(shared, fence, part).await,
            done => done.map(drop),
        };
        if let Err(error) = result {
            warn!(%error, "what is over is not taken away yet");
            return;
        }
    }
}

async fn singly(shared: &Shared, fence: i64, keys: &[(String, i64)]) -> Result<(), ClientError> {
    for key in keys {
        delete(shared, fence, std::slice::from_ref(key)).await?;
    }
    Ok(())
}

/// Deletes these keys if all of them are as they were read; whether it did.
async fn delete(shared: &Shared, fence: i64, keys: &[(String, i64)]) -> Result<bool, ClientError> {
    let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
    for (key, revision) in keys {
        txn = txn.when(Compare::mod_revision(key, *revision)).then(Op::delete(key));
    }
    Ok(shared.client.txn(txn).await?.succeeded)
}

/// The keys that nobody needs, and the revisions they were read at.
fn idle(board: &Board, now: Time) -> Vec<(String, i64)> {
    let (over, long) =
        (now - TimeDelta::minutes(ALERT_MINUTES), now - TimeDelta::hours(RETENTION_HOURS));
    let alerts = board.alerts.iter().filter(|(at, kept)| {
        kept.alert.is_resolved(over) && !board.is_grouped(**at, &kept.alert.labels)
    });
    let alerts = alerts.map(|(at, kept)| (keys::alert(*at), kept.revision));
    let silences = board.silences.with_revisions().filter(|(silence, _)| silence.ends_at < long);
    let silences = silences.map(|(silence, revision)| (keys::silence(&silence.id), revision));
    // Of groups that are there, it is told still.
    let groups = board.groups.iter().flat_map(super::group::Groups::iter);
    let groups: HashSet<&str> = groups.map(|(_, group)| group.key.as_str()).collect();
    let told = board.log.iter().filter(|(_, logged)| {
        let record = &logged.record;
        let keep = i64::try_from(record.repeat_seconds.saturating_mul(2)).unwrap_or(i64::MAX);
        let keep = TimeDelta::try_seconds(keep);
        match record.finished_at {
            Some(at) => {
                let until = keep.and_then(|keep| at.checked_add_signed(keep));
                at < long && until.is_some_and(|until| until < now)
            }
            None => record.decided_at < long && !groups.contains(record.group_key.as_str()),
        }
    });
    let told = told.map(|(id, logged)| (keys::notification(id), logged.revision));
    alerts.chain(silences).chain(told).take(KEYS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        alertmanager::fixtures::{alert, shared},
        fixtures::time,
    };

    #[tokio::test]
    async fn what_is_pending_goes_with_its_group() {
        let shared = shared(
            "{route: {receiver: r, group_wait: 0s}, receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]}",
        );
        let mut board = shared.board_mut();
        board.revision = 1;
        board.begin(time(0));
        let alert = alert(&[("a", "1")], 0, None);
        let fingerprint = alert.fingerprint();
        board.put_alert(fingerprint, Arc::new(alert), 1, time(0));
        let told = board.due(time(1));
        let later = time(0) + TimeDelta::hours(RETENTION_HOURS + 1);
        assert_eq!(idle(&board, later), []);
        let groups = board.groups.as_mut().unwrap();
        let group = groups.find(0, &watchkeep_catalog::LabelSet::new()).unwrap();
        groups.remove(group, fingerprint);
        groups.tidy();
        assert_eq!(idle(&board, later), [(keys::notification(&told[0].id), 1)]);
    }
}
