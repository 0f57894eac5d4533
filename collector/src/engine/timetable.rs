//! When one check runs: its ticks, and what becomes of one that finds no room. Pure: times are durations since an epoch.
//!
//! ```text
//! interval 1 s, timeout 2.5 s: at most three runs at a time
//! tick  0 s  run 1 ──────── hangs ───────▶ 2.5 s
//! tick  1 s   run 2 ──────── hangs ───────▶ 3.5 s
//! tick  2 s    run 3 ──────── hangs ───────▶ 4.5 s
//! tick  3 s     run 4 …                     (run 1 is over)
//! ```
//!
//! A tick that comes while as many runs as may be are under way is owed: made up for when one of them ends within half an
//! interval, else missed. One that waits for a permit of the collector until the next tick comes is shed, and the next one
//! takes its place in the queue.

use std::time::Duration;

use crate::schedule::Schedule;

/// Runs of one check at a time, whatever its timeout.
const RUNS_MAX: u32 = 8;
/// A run is never before its time by more than this part of the interval.
const EARLY_PART: u32 = 20;

/// The times of one check.
#[derive(Debug)]
pub(crate) struct Timetable {
    schedule: Schedule,
    edge: Option<Duration>,
    runs_max: u32,
    running: u32,
    /// The next tick.
    due: Duration,
    /// When the run that waits for a permit was due.
    waiting: Option<Duration>,
    /// When the run that waits for one of its own to end was due.
    owed: Option<Duration>,
    /// When the run that began last was due.
    begun: Duration,
}

/// What a tick, or the end of a run, leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The check goes into the queue: [`Timetable::begin`] follows when there is a permit.
    pub(crate) queue: bool,
    /// Runs left out because their time has passed, or those before took too long.
    pub(crate) missed: u64,
    /// Runs left out because no permit was free.
    pub(crate) shed: u64,
}

impl Timetable {
    /// Of a check found at `now`; `edge`: the interval while an opinion is about to change.
    pub(crate) fn new(
        schedule: Schedule,
        edge: Option<Duration>,
        timeout: Duration,
        now: Duration,
    ) -> Self {
        let interval = schedule.interval().min(edge.unwrap_or(Duration::MAX)).as_nanos().max(1);
        let runs = timeout.as_nanos().div_ceil(interval).clamp(1, u128::from(RUNS_MAX));
        Self {
            schedule,
            edge,
            runs_max: u32::try_from(runs).unwrap_or(RUNS_MAX),
            running: 0,
            due: schedule.first(now),
            waiting: None,
            owed: None,
            begun: Duration::ZERO,
        }
    }

    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// Whether a run may begin so much before its time.
    pub(crate) fn bears(&self, early: Duration) -> bool {
        let interval = self.schedule.interval().min(self.edge.unwrap_or(Duration::MAX));
        early.saturating_mul(EARLY_PART) <= interval
    }

    /// The tick that is due has come, or is near.
    pub(crate) fn tick(&mut self, now: Duration) -> Turn {
        let due = self.due;
        let (next, missed) = self.schedule.next(due, now);
        self.due = next;
        let mut turn = Turn { missed, ..Turn::default() };
        if self.waiting.replace(due).is_some() {
            turn.shed = 1;
        } else if self.running >= self.runs_max {
            self.waiting = None;
            turn.missed += u64::from(self.owed.replace(due).is_some());
        } else {
            turn.queue = true;
        }
        turn
    }

    /// There is a permit: answers with when the run was due.
    pub(crate) fn begin(&mut self) -> Option<Duration> {
        let due = self.waiting.take()?;
        (self.running, self.begun) = (self.running + 1, due);
        Some(due)
    }

    /// A run has ended.
    pub(crate) fn end(&mut self, now: Duration) -> Turn {
        self.running = self.running.saturating_sub(1);
        let Some(due) = self.owed.take() else { return Turn::default() };
        if now.saturating_sub(due) > self.schedule.interval() / 2 || self.waiting.is_some() {
            return Turn { missed: 1, ..Turn::default() };
        }
        self.waiting = Some(due);
        Turn { queue: true, ..Turn::default() }
    }

    /// The opinion is about to change: the next tick comes as soon as the edge interval says. True when that is sooner.
    pub(crate) fn hurry(&mut self, now: Duration) -> bool {
        let Some(edge) = self.edge else { return false };
        let sooner = (self.begun + edge).max(now);
        if self.waiting.is_some() || self.owed.is_some() || sooner >= self.due {
            return false;
        }
        self.due = sooner;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn timetable(interval: u64, edge: Option<u64>, timeout: u64) -> Timetable {
        Timetable::new(Schedule::new(ms(interval), 0), edge.map(ms), ms(timeout), ms(0))
    }

    #[test]
    fn runs_overlap_up_to_the_timeout_and_what_finds_no_room_is_owed_then_missed() {
        let mut table = timetable(1_000, None, 2_500);
        for tick in [0, 1_000, 2_000] {
            assert_eq!(table.due(), ms(tick));
            assert_eq!(table.tick(ms(tick)), Turn { queue: true, ..Turn::default() });
            assert_eq!(table.begin(), Some(ms(tick)));
        }
        assert_eq!(table.tick(ms(3_000)), Turn::default(), "owed");
        assert_eq!(table.end(ms(3_400)), Turn { queue: true, ..Turn::default() }, "made up for");
        assert_eq!(table.begin(), Some(ms(3_000)));
        assert_eq!(table.tick(ms(4_000)), Turn::default(), "owed");
        assert_eq!(table.end(ms(4_600)), Turn { missed: 1, ..Turn::default() }, "too late");
        assert_eq!(table.tick(ms(5_000)), Turn { queue: true, ..Turn::default() });
    }

    #[test]
    fn a_run_before_its_time_changes_no_other() {
        let mut table = timetable(100, None, 50);
        assert!(table.bears(ms(5)) && !table.bears(ms(6)));
        assert!(!timetable(1_000, Some(99), 50).bears(ms(5)));
        for tick in [0, 100, 200] {
            assert_eq!(table.due(), ms(tick));
            let now = ms(tick).saturating_sub(ms(5));
            assert_eq!(table.tick(now), Turn { queue: true, ..Turn::default() });
            assert_eq!(table.begin(), Some(ms(tick)));
            assert_eq!(table.end(now + ms(1)), Turn::default());
        }
    }

    #[test]
    fn what_waits_for_a_permit_until_the_next_tick_is_shed() {
        let mut table = timetable(1_000, None, 500);
        assert!(table.tick(ms(0)).queue);
        assert_eq!(table.tick(ms(1_000)), Turn { shed: 1, ..Turn::default() });
        assert_eq!(table.begin(), Some(ms(1_000)), "with the newer tick");
        assert_eq!(table.begin(), None);
        table.end(ms(1_100));
        assert!(table.tick(ms(2_000)).queue);
    }

    #[test]
    fn on_edge_it_is_quicker_and_then_on_its_grid_again() {
        let mut table = timetable(5_000, Some(500), 400);
        assert!(table.tick(ms(0)).queue);
        table.begin();
        table.end(ms(20));
        assert!(table.hurry(ms(20)));
        assert_eq!(table.due(), ms(500));
        assert!(table.tick(ms(500)).queue);
        table.begin();
        assert_eq!(table.due(), ms(5_000));
        // An answer that took longer than the edge interval: at once.
        table.end(ms(1_200));
        assert!(table.hurry(ms(1_200)));
        assert_eq!(table.due(), ms(1_200));
        assert!(!timetable(5_000, None, 400).hurry(ms(1)));
    }

    proptest! {
        /// Whatever happens when: every tick runs, or is counted once as missed or shed.
        #[test]
        fn every_tick_is_accounted_for(
            timeout in 1_u64..12_000,
            steps in prop::collection::vec((0_u8..3, 0_u64..3_000), 1..200),
        ) {
            let mut table = timetable(1_000, None, timeout);
            let (mut now, mut queued, mut running) = (0, false, 0_u64);
            let (mut ticks, mut began, mut left_out) = (0, 0, 0);
            for (step, pass) in steps {
                now += pass;
                let turn = match step {
                    0 if table.due() <= ms(now) => {
                        let before = table.due();
                        let turn = table.tick(ms(now));
                        ticks += (table.due() - before).as_millis() as u64 / 1_000;
                        turn
                    }
                    1 if queued => {
                        queued = false;
                        prop_assert!(table.begin().is_some());
                        (running, began) = (running + 1, began + 1);
                        Turn::default()
                    }
                    2 if running > 0 => {
                        running -= 1;
                        table.end(ms(now))
                    }
                    _ => Turn::default(),
                };
                prop_assert!(!(turn.queue && queued), "queued once at a time");
                queued |= turn.queue;
                left_out += turn.missed + turn.shed;
                let open = u64::from(table.waiting.is_some()) + u64::from(table.owed.is_some());
                prop_assert_eq!(table.waiting.is_some(), queued);
                prop_assert_eq!(ticks, began + left_out + open);
                prop_assert!(running <= u64::from(RUNS_MAX));
            }
        }
    }
}
