//! History that nobody wants any more: the leader compacts what is older than `auto_compaction_retention_ms`, and what is
//! further back than `auto_compaction_revisions` (etcd: `server/etcdserver/api/v3compactor`). Every member notes which
//! revision was the newest when, and keeps its notes beside the data: so whoever leads next, or starts again, goes on.
//!
//! ```text
//! retention 10 min   10:00 revision 40   10:05 revision 90   10:10 revision 95 ─▶ compact 40: as of 10:00 can be read
//! ```

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, warn};

use crate::{
    cluster::Cluster,
    schema::{Body, Compact},
};

mod notes;

use notes::Note;

/// Parts of the retention by which a revision may be kept longer.
const STEPS: u64 = 100;
/// How far notes lie apart, at least and at most. At a retention of a year that makes 8,760 of them.
const STEP_MS: (u64, u64) = (100, 3_600_000);
/// Notes that lie closer together are not worth a file: after a start they are there again soon.
const KEPT_FROM_MS: u64 = 10_000;
/// How often is looked, at the most seldom.
const INTERVAL: Duration = Duration::from_secs(5);
/// Pause while there is no leader.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to go, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// History that is older goes; 0: none by age.
    pub(crate) retention_ms: u64,
    /// Newest revisions that stay; 0: any number.
    pub(crate) revisions_max: u64,
}

impl Settings {
    fn is_any(self) -> bool {
        self.retention_ms > 0 || self.revisions_max > 0
    }

    /// How far notes lie apart.
    fn step_ms(self) -> u64 {
        (self.retention_ms / STEPS).clamp(STEP_MS.0, STEP_MS.1)
    }

    /// How often to look.
    fn interval(self) -> Duration {
        let by_age = (self.retention_ms > 0).then(|| Duration::from_millis(self.step_ms()));
        by_age.map_or(INTERVAL, |step| step.min(INTERVAL))
    }

    /// Whether notes outlive the process.
    fn keeps_notes(self) -> bool {
        self.retention_ms > 0 && self.step_ms() >= KEPT_FROM_MS
    }
}

/// Which revision was the newest when.
#[derive(Debug)]
struct History {
    settings: Settings,
    /// The oldest first; none is older than the retention.
    notes: VecDeque<Note>,
    /// The newest revision that is older.
    aged: i64,
}

impl History {
    /// Goes on from notes of before, the oldest first.
    fn new(settings: Settings, notes: Vec<Note>) -> Self {
        Self { settings, notes: notes.into(), aged: 0 }
    }

    /// Notes the newest revision if it is time to; whether it was.
    fn note(&mut self, at_ms: i64, revision: i64) -> bool {
        let step_ms = self.settings.step_ms().cast_signed();
        let is_due = self.notes.back().is_none_or(|last| at_ms - last.at_ms >= step_ms);
        if self.settings.retention_ms == 0 || !is_due {
            return false;
        }
        self.notes.push_back(Note { at_ms, revision });
        true
    }

    /// At which revision to compact; 0 or less: at none.
    fn due(&mut self, now_ms: i64, newest: i64) -> i64 {
        let retention_ms = i64::try_from(self.settings.retention_ms).unwrap_or(i64::MAX);
        while let Some(note) = self.notes.front().copied()
            && now_ms - note.at_ms >= retention_ms
        {
            self.aged = self.aged.max(note.revision);
            self.notes.pop_front();
        }
        let by_number = match i64::try_from(self.settings.revisions_max) {
            Ok(max) if max > 0 => newest - max,
            _ => 0,
        };
        self.aged.max(by_number)
    }
}

/// The newest revision once what the log has is applied: notes of before name some that are not in the state yet.
async fn newest(cluster: &Cluster) -> i64 {
    loop {
        match cluster.linearizable_view().await {
            Ok(view) => return view.applied().revision,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Compacts while this member leads, for as long as it runs. `dir` is its data directory.
pub(crate) async fn run(cluster: Cluster, settings: Settings, dir: PathBuf) {
    if !settings.is_any() {
        return;
    }
    let newest = newest(&cluster).await;
    let before = if settings.keeps_notes() { notes::read(&dir, newest).await } else { Vec::new() };
    let mut history = History::new(settings, before);
    let began = Instant::now();
    let mut ticks = tokio::time::interval(settings.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let applied = cluster.store().applied();
        if history.note(now_ms, applied.revision)
            && settings.keeps_notes()
            && let Err(error) = notes::write(&dir, history.notes.make_contiguous(), now_ms).await
        {
            warn!(%error, dir = %dir.display(), "how old history is will not be known after a start");
        }
        let revision = history.due(now_ms, applied.revision);
        if revision <= applied.compact_revision || cluster.leader() != Some(cluster.id()) {
            continue;
        }
        match cluster.propose(Body::Compact(Compact { revision })).await {
            Ok(_) => debug!(revision, "history before it is compacted"),
            Err(error) => debug!(revision, %error, "history is not compacted yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn by_age(retention_ms: u64) -> Settings {
        Settings { retention_ms, revisions_max: 0 }
    }

    #[test]
    fn what_was_the_newest_a_retention_ago_can_be_read_still() {
        let mut history = History::new(by_age(600_000), Vec::new());
        for (at, newest, expected) in [
            (0, 40, 0),
            (5, 90, 0),
            (9, 95, 0),
            (10, 95, 40),
            (14, 95, 40),
            (15, 96, 90),
            (60, 96, 96),
        ] {
            history.note(at * MINUTE, newest);
            assert_eq!(history.due(at * MINUTE, newest), expected, "after {at} minutes");
        }
        assert_eq!(history.notes.len(), 1, "{history:?}");
        assert!(!history.note(60 * MINUTE + 1, 97), "six seconds lie between two notes");
    }

    #[test]
    fn notes_of_before_count() {
        let before = vec![
            Note { at_ms: -20 * MINUTE, revision: 7 },
            Note { at_ms: -9 * MINUTE, revision: 8 },
        ];
        let mut history = History::new(by_age(600_000), before);
        assert_eq!(history.due(0, 9), 7);
        assert_eq!(history.due(MINUTE, 9), 8);
    }

    #[test]
    fn the_newest_revisions_are_kept_by_number_and_whichever_keeps_less_counts() {
        let by_number = Settings { retention_ms: 0, revisions_max: 1_000 };
        let mut history = History::new(by_number, Vec::new());
        assert!(!history.note(0, 900), "nothing is noted where age does not count");
        assert!(history.due(0, 900) <= 0);
        assert_eq!(history.due(0, 5_000), 4_000);
        let mut both = History::new(Settings { retention_ms: 600_000, ..by_number }, Vec::new());
        both.note(0, 1_500);
        assert_eq!(both.due(0, 1_500), 500);
        assert_eq!(both.due(10 * MINUTE, 1_600), 1_500);
    }

    #[test]
    fn how_often_is_looked_and_noted() {
        assert!(!by_age(0).is_any());
        for (retention_ms, step_ms, interval_ms, kept) in [
            (1_000, 100, 100, false),
            (600_000, 6_000, 5_000, false),
            (86_400_000, 864_000, 5_000, true),
            (31_536_000_000, 3_600_000, 5_000, true),
        ] {
            let settings = by_age(retention_ms);
            let of = (settings.step_ms(), settings.interval().as_millis(), settings.keeps_notes());
            assert_eq!(of, (step_ms, interval_ms, kept), "{retention_ms}");
        }
        assert_eq!(Settings { retention_ms: 0, revisions_max: 1 }.interval(), INTERVAL);
    }
}
