//! Waiting for a condition: it is asked again and again until it holds or the deadline passes.

use std::time::{Duration, Instant};

/// Between two askings, in the first second.
const PAUSE: Duration = Duration::from_millis(25);
/// The same later: in a debug build a question is work for a node, which has other things to do.
const PAUSE_LATER: Duration = Duration::from_millis(100);

/// Asks until the answer is `Ok`, and gives what it holds.
///
/// # Panics
/// When `within` has passed; the panic shows the last `Err`.
pub async fn eventually<T, F, A>(what: &str, within: Duration, mut ask: F) -> T
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    let deadline = begun + within;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) if Instant::now() >= deadline => {
                panic!("{what}: not within {within:?}: {why}")
            }
            Err(_) if begun.elapsed() < Duration::from_secs(1) => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => tokio::time::sleep(PAUSE_LATER).await,
        }
    }
}

/// `Ok` when it holds, else what it was that did not.
///
/// # Errors
/// With `why` when it does not hold.
pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
