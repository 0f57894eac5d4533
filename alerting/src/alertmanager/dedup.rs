//! Whether there is anything new to tell: what fires and what is over now, against what was told last. Pure.

use chrono::TimeDelta;
use watchkeep_catalog::{Notification, NotificationState, Time};

/// Fingerprints in rising order.
pub(crate) type Set = Vec<u64>;

/// Why somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing was told before.
    First,
    /// An alert fires that did not before.
    Firing,
    /// All is over.
    AllResolved,
    /// An alert is over.
    Resolved,
    /// Nothing is new, but it is time to say it again.
    Repeat,
    /// It was decided before, and nobody knows whether it arrived.
    Unfinished,
}

/// Whether the first set is part of the second. Both rise.
fn is_subset(part: &[u64], whole: &[u64]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|wanted| whole.by_ref().any(|found| found == wanted))
}

/// What was told last, as far as it counts.
pub(crate) fn reason(
    last: Option<&Notification>,
    firing: &[u64],
    resolved: &[u64],
    send_resolved: bool,
    repeat: TimeDelta,
    now: Time,
) -> Option<Reason> {
    let Some(last) = last else { return (!firing.is_empty()).then_some(Reason::First) };
    if last.state == NotificationState::Pending {
        if last.firing == firing && last.resolved == resolved {
            return Some(Reason::Unfinished);
        }
        // Nobody knows whether it was heard, so it counts for nothing: what fires still is told.
        if !firing.is_empty() {
            return Some(Reason::Firing);
        }
    }
    if !is_subset(firing, &last.firing) {
        return Some(Reason::Firing);
    }
    if firing.is_empty() {
        return (!last.firing.is_empty()).then_some(Reason::AllResolved);
    }
    if send_resolved && !is_subset(resolved, &last.resolved) {
        return Some(Reason::Resolved);
    }
    let told = last.finished_at.unwrap_or(last.decided_at);
    (told < now - repeat).then_some(Reason::Repeat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    fn told(firing: &[u64], resolved: &[u64], state: NotificationState) -> Notification {
        Notification {
            group_key: "{}:{}".to_owned(),
            receiver: "r".to_owned(),
            integration: "webhook".to_owned(),
            index: 0,
            sequence: 1,
            idempotency_key: "k".to_owned(),
            state,
            firing: firing.to_vec(),
            resolved: resolved.to_vec(),
            decided_at: time(0),
            finished_at: Some(time(1)),
            repeat_seconds: 100,
        }
    }

    #[test]
    fn reasons() {
        use NotificationState::{Pending, Sent};
        let sent = told(&[1, 2], &[3], Sent);
        for (last, firing, resolved, send_resolved, seconds, expected) in [
            (None, &[1][..], &[][..], true, 2, Some(Reason::First)),
            (None, &[], &[1], true, 2, None),
            (Some(&sent), &[1, 2], &[3], true, 2, None),
            (Some(&sent), &[1], &[3], true, 2, None),
            (Some(&sent), &[1, 4], &[], true, 2, Some(Reason::Firing)),
            (Some(&sent), &[1], &[2], true, 2, Some(Reason::Resolved)),
            (Some(&sent), &[1], &[2], false, 2, None),
            (Some(&sent), &[], &[1, 2], false, 2, Some(Reason::AllResolved)),
            (Some(&told(&[], &[1], Sent)), &[], &[1], true, 200, None),
            (Some(&sent), &[1, 2], &[], true, 101, None),
            (Some(&sent), &[1, 2], &[], true, 102, Some(Reason::Repeat)),
            (Some(&told(&[1], &[], Pending)), &[1], &[], true, 2, Some(Reason::Unfinished)),
            (Some(&told(&[1], &[], Pending)), &[], &[1], true, 2, Some(Reason::AllResolved)),
            // It did not arrive, and now only a part of it fires.
            (Some(&told(&[1, 2], &[], Pending)), &[1], &[], true, 2, Some(Reason::Firing)),
            (Some(&told(&[1, 2], &[], Pending)), &[1], &[2], false, 2, Some(Reason::Firing)),
        ] {
            let found = reason(
                last,
                firing,
                resolved,
                send_resolved,
                TimeDelta::seconds(100),
                time(seconds),
            );
            assert_eq!(found, expected, "{last:?} {firing:?} {resolved:?} at {seconds}");
        }
    }
}
