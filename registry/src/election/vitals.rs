//! What a member knows of the others' lives: when it heard a leader, and whose process has ended.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug)]
struct State {
    /// When a leader was heard, or voted for.
    heard: Option<Instant>,
    /// When the process each was last known by was found to have ended.
    ended: HashMap<u64, Instant>,
    /// Who does not answer now.
    absent: HashSet<u64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Vitals {
    began: Instant,
    state: Mutex<State>,
}

impl Vitals {
    pub(crate) fn new(now: Instant) -> Self {
        let state = State { heard: None, ended: HashMap::new(), absent: HashSet::new() };
        Self { began: now, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leader was heard, or this member voted for one.
    pub(crate) fn heard(&self, now: Instant) {
        let mut state = self.lock();
        state.heard = Some(state.heard.map_or(now, |before| before.max(now)));
    }

    /// This member was not running for a while: the leader could not be heard.
    pub(crate) fn stood_still(&self, pause: Duration, now: Instant) {
        let mut state = self.lock();
        state.heard = state.heard.map(|heard| (heard + pause).min(now));
    }

    /// Since a leader was heard, or since this member began; and whether none was ever heard.
    pub(crate) fn quiet(&self, now: Instant) -> (Duration, bool) {
        let heard = self.lock().heard;
        (now.saturating_duration_since(heard.unwrap_or(self.began)), heard.is_none())
    }

    /// A member's connection broke, and nobody answers for it.
    pub(crate) fn ended(&self, id: u64, now: Instant) {
        let mut state = self.lock();
        state.ended.insert(id, now);
        state.absent.insert(id);
    }

    /// A member answers: the process it was known by, or another one.
    pub(crate) fn answers(&self, id: u64, same: bool, now: Instant) {
        let mut state = self.lock();
        state.absent.remove(&id);
        if same {
            state.ended.remove(&id);
        } else {
            state.ended.insert(id, now);
        }
    }

    pub(crate) fn is_absent(&self, id: u64) -> bool {
        self.lock().absent.contains(&id)
    }

    /// Whether the member that leads has ended, and was not heard since.
    pub(crate) fn leader_has_ended(&self, leader: u64) -> bool {
        let state = self.lock();
        let ended = state.ended.get(&leader);
        ended.is_some_and(|ended| state.heard.is_none_or(|heard| heard <= *ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_heard_again_has_not_ended() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let vitals = Vitals::new(start);
        assert_eq!(vitals.quiet(at(70)), (Duration::from_millis(70), true));
        vitals.heard(at(100));
        assert_eq!(vitals.quiet(at(130)), (Duration::from_millis(30), false));
        assert!(!vitals.leader_has_ended(1));
        vitals.ended(1, at(150));
        assert!(vitals.leader_has_ended(1));
        vitals.heard(at(160));
        assert!(!vitals.leader_has_ended(1), "the connection broke, the leader is there");
        vitals.ended(1, at(200));
        assert!(vitals.leader_has_ended(1), "what was heard had been on its way");
        assert!(vitals.is_absent(1));
        vitals.answers(1, true, at(210));
        assert!(!vitals.leader_has_ended(1) && !vitals.is_absent(1));
        vitals.answers(1, false, at(220));
        assert!(vitals.leader_has_ended(1), "started again, it does not lead");
        assert!(!vitals.is_absent(1));
        vitals.stood_still(Duration::from_millis(500), at(700));
        assert_eq!(vitals.quiet(at(700)), (Duration::from_millis(40), false));
    }
}
