//! Pauses between attempts: doubling, with jitter so that many do not come back at once. Pure.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

/// Doublings beyond this change nothing, as every longest pause is reached.
const DOUBLINGS_MAX: u32 = 20;

/// The pause after failed attempt number `attempt` (from 1): between half and all of `base * 2^(attempt-1)`,
/// at most `longest`.
pub(crate) fn pause(
    attempt: u32,
    base: Duration,
    longest: Duration,
    rng: &mut impl Rng,
) -> Duration {
    let doublings = attempt.saturating_sub(1).min(DOUBLINGS_MAX);
    let full = base.saturating_mul(1 << doublings).min(longest);
    full.mul_f64(rng.random_range(0.5..=1.0))
}

/// Randomness that is the same for the same node and record.
pub(crate) fn rng(node: &str, record: &str) -> StdRng {
    StdRng::from_seed(Sha256::digest(format!("{node}/{record}").as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let (base, longest) = (Duration::from_millis(200), Duration::from_secs(30));
        let mut rng = rng("node-1", "x");
        for (attempt, full_ms) in [
            (1, 200),
            (2, 400),
            (3, 800),
            (8, 25_600),
            (9, 30_000),
            (100, 30_000),
            (u32::MAX, 30_000),
        ] {
            for _ in 0..100 {
                let pause = pause(attempt, base, longest, &mut rng);
                let full = Duration::from_millis(full_ms);
                assert!((full / 2..=full).contains(&pause), "{attempt}: {pause:?}");
            }
        }
    }
}
