//! A URL is asked for more instances. The count is in the journal before the first request, so that no attempt asks for
//! more than the one before.

use watchkeep_catalog::keys;

use super::{Deposed, Outcome, Run, callback};
use crate::{config::Scale, store::Extra};

/// Asks.
pub(super) async fn scale(run: &mut Run<'_>, at: usize, scale: &Scale) -> Result<Outcome, Deposed> {
    let wanted = match run.failover.record.steps[at].wanted {
        Some(wanted) => wanted,
        None => {
            let wanted = match (scale.to, scale.add) {
                (Some(to), _) => to,
                (None, add) => {
                    let prefix = keys::instances_of(&run.failover.record.service);
                    match run.context.client.list_keys(&prefix).await {
                        Ok(keys) => u32::try_from(keys.len())
                            .unwrap_or(u32::MAX)
                            .saturating_add(add.unwrap_or(0)),
                        Err(error) => return Ok(Outcome::Failed(error.to_string())),
                    }
                }
            };
            run.record().steps[at].wanted = Some(wanted);
            let extra = Extra { acts: true, ..Extra::default() };
            if let Some(interrupt) = run.write(extra, None).await? {
                return Ok(Outcome::Interrupted(interrupt));
            }
            wanted
        }
    };
    let called = callback::call(run, at, &scale.callback, Some(wanted)).await?;
    Ok(match called {
        Outcome::Done { detail, extra, tell } => {
            Outcome::Done { detail: format!("asked for {wanted} instances: {detail}"), extra, tell }
        }
        other => other,
    })
}
