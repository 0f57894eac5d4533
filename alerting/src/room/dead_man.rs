//! The dead man's switch out: a URL that is called again and again while all is well. Whoever waits for the calls notices when
//! they stop, whatever the reason; so nothing here may call while something is wrong.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;
use watchkeep_catalog::keys;

use super::{Done, Room};
use crate::{
    clock,
    context::Context,
    metrics::{DELIVERED, FAILED},
    post::{self, Post},
};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Room {
    /// Calls, if there is a URL, and it is time since this leader called last.
    pub(super) fn say_that_all_is_well(&mut self, fence: i64) {
        let Some(url) = self.rules.pages.dead_man_url.clone() else { return };
        let interval = Duration::from_secs(self.rules.pages.dead_man_interval_seconds.into());
        if self.called.is_some_and(|called| called.elapsed() < interval) {
            return;
        }
        self.called = Some(Instant::now());
        let context = Arc::clone(&self.context);
        self.tasks.spawn(async move {
            let result = match call(&context, fence, &url).await {
                Ok(()) => DELIVERED,
                Err(error) => {
                    warn!(error, "the dead man's switch was not called");
                    FAILED
                }
            };
            context.metrics.dead_man_calls.with_label_values(&[result]).inc();
            Done::SaidWell
        });
    }
}

/// All is well: the registry answers, with a majority behind it, that this node leads.
async fn call(context: &Context, fence: i64, url: &str) -> Result<(), String> {
    let leader = context.client.get(keys::ALERTING_LEADER).await.map_err(|e| e.to_string())?;
    if leader.is_none_or(|leader| leader.create_revision != fence) {
        return Err("this node does not lead any more".to_owned());
    }
    let now = clock::now();
    let body = serde_json::json!({"status": "alive", "node": context.id, "at": now});
    let request = Post {
        url,
        idempotency_key: &format!("alive-{}-{}", context.id, now.timestamp()),
        secret: None,
        trace_parent: None,
        fencing_token: None,
        body: body.to_string().into_bytes(),
        timeout: TIMEOUT,
        timestamp: now.timestamp(),
    };
    post::send(&context.http, request).await.error.map_or(Ok(()), Err)
}
