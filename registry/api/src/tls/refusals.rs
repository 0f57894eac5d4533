//! Which refused connections are said in the log: a client that tries again twenty times a second must not fill the disk.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long the same is not said again.
const QUIET: Duration = Duration::from_secs(10);
/// Different reasons that are remembered; further ones, which callers could make up, are only counted.
const REASONS_MAX: usize = 32;

/// When a reason was said last, and how often it came since.
struct Said {
    at: Instant,
    unsaid: u64,
}

/// What one listener has said.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, Said>>);

impl Refusals {
    /// Whether it is to be said now; with how many of the same went unsaid since the last time.
    #[must_use]
    pub fn is_told(&self, reason: &str, now: Instant) -> Option<u64> {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = reasons.get_mut(reason) {
            if now.duration_since(said.at) < QUIET {
                said.unsaid += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.unsaid));
        }
        if reasons.len() >= REASONS_MAX {
            reasons.retain(|_, said| now.duration_since(said.at) < QUIET);
        }
        if reasons.len() >= REASONS_MAX {
            return None;
        }
        reasons.insert(reason.to_owned(), Said { at: now, unsaid: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_in_a_while() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(refusals.is_told("no certificate", at(0)), Some(0));
        assert_eq!(refusals.is_told("no certificate", at(1)), None);
        assert_eq!(refusals.is_told("expired", at(1)), Some(0), "another reason");
        assert_eq!(refusals.is_told("no certificate", at(9)), None);
        assert_eq!(refusals.is_told("no certificate", at(10)), Some(2));
        assert_eq!(refusals.is_told("no certificate", at(11)), None);
        // Whoever makes up reasons is not remembered without end.
        let told = (0..100).filter(|n| refusals.is_told(&n.to_string(), at(12)).is_some());
        assert_eq!(told.count(), REASONS_MAX - 1);
        assert_eq!(refusals.is_told("later", at(30)), Some(0));
    }
}
