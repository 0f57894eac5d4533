//! Whether the registry is there: it is asked for again and again, and lost when it has been silent for too long.

use std::time::Duration;

use tokio::time::Instant;
use watchkeep_catalog::keys;

use crate::{clock, context::Context};

/// How often it is asked whether the registry is there, and how long an answer may take.
const BEAT: Duration = Duration::from_secs(1);
/// As long as it has never answered.
const FIRST_BEAT: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_millis(1_500);
/// A node whose lease has run out, and that hears nothing for so long besides, takes the registry for lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// A node that has never heard of it may be the first of all to start: nobody is alarmed before.
const START: Duration = Duration::from_mins(1);

/// Who asks.
#[derive(Debug)]
pub(crate) struct Ear {
    lost_after: Duration,
    /// When it answered last; before it ever has, when the asking began.
    heard: Instant,
    ever: bool,
}

/// What is known now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// It answered a moment ago.
    pub(crate) answered: bool,
    pub(crate) lost: bool,
    /// It is lost, and people are to know.
    pub(crate) alarming: bool,
}

impl Ear {
    pub(crate) fn new(lease_ttl_seconds: i64) -> Self {
        let ttl = u64::try_from(lease_ttl_seconds).unwrap_or_default();
        let lost_after = Duration::from_secs(ttl) + PATIENCE;
        Self { lost_after, heard: Instant::now(), ever: false }
    }

    /// Silent for so long it is lost.
    pub(crate) fn lost_after(&self) -> Duration {
        self.lost_after
    }

    /// Waits for the next time to ask, and asks.
    pub(crate) async fn beat(&mut self, Context { client, metrics, .. }: &Context) -> Heard {
        tokio::time::sleep(if self.ever { BEAT } else { FIRST_BEAT }).await;
        let asked = client.get(keys::ALERTING_LEADER);
        let answered = matches!(tokio::time::timeout(ANSWER_MAX, asked).await, Ok(Ok(_)));
        if answered {
            metrics.registry_answer_timestamp_seconds.set(clock::now().timestamp());
        }
        self.hear(answered, Instant::now())
    }

    fn hear(&mut self, answered: bool, now: Instant) -> Heard {
        if answered {
            (self.heard, self.ever) = (now, true);
        }
        let silent = now.saturating_duration_since(self.heard);
        let lost = silent >= self.lost_after;
        Heard { answered, lost, alarming: lost && (self.ever || silent >= START) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_its_time() {
        let mut ear = Ear::new(3);
        let begin = ear.heard;
        let mut at = |answered, seconds| {
            let heard = ear.hear(answered, begin + Duration::from_secs(seconds));
            (heard.lost, heard.alarming)
        };
        // Whoever starts first finds nobody.
        assert_eq!(at(false, 4), (false, false));
        assert_eq!(at(false, 5), (true, false));
        assert_eq!(at(false, 60), (true, true));
        assert_eq!(at(true, 61), (false, false));
        assert_eq!(at(false, 65), (false, false));
        assert_eq!(at(false, 66), (true, true));
    }
}
