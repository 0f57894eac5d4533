//! Waiting for a condition with a deadline: a step that does not happen has a name.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Looks until `look` sees something, for at most `limit`.
///
/// # Errors
/// When it does not happen in time; the message names `what`.
pub(super) async fn until<T, A>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> A,
) -> anyhow::Result<T>
where
    A: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) if Instant::now() < deadline => tokio::time::sleep(LOOK_PAUSE).await,
            _ => bail!("step failed: {what} did not happen within {limit:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_happens_or_is_named() {
        let mut looks = 0;
        let third = until("it", Duration::from_secs(1), || {
            looks += 1;
            let seen = (looks == 3).then_some(looks);
            async move { seen }
        });
        assert_eq!(third.await.ok(), Some(3));
        let never = until("the page", Duration::from_millis(20), || async { None::<()> }).await;
        let message = never.expect_err("never happens").to_string();
        assert_eq!(message, "step failed: the page did not happen within 20ms");
    }
}
