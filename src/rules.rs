//! PromQL for the rules, the series crate's parser behind alerting's trait; and SIGHUP, which reads them and the
//! `alertmanager.yml` again. Only wiring.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use watchkeep_alerting::{
    Alertmanager,
    rule::{Expressions, Rules},
};
use watchkeep_series::promql::Expr;

/// Judges expressions as the embedded engine reads them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PromQl;

impl Expressions for PromQl {
    fn check(&self, expr: &str) -> Result<(), String> {
        Expr::parse(expr).map(drop).map_err(|error| match error.position {
            Some(at) => format!("{error} (at byte {at})"),
            None => error.to_string(),
        })
    }
}

/// Reads the rule files, and the `alertmanager.yml` where there is one, again at every SIGHUP, until `stop`.
pub(crate) async fn reload_on_signal(
    rules: Rules,
    alertmanager: Option<Alertmanager>,
    stop: CancellationToken,
) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            warn!(%error, "SIGHUP is not heard; changed rule files are noticed anyway");
            return stop.cancelled().await;
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hangups.recv() => {}
        }
        // What is wrong with them is in the log and in the metric.
        drop(rules.reload().await);
        if let Some(alertmanager) = &alertmanager
            && let Err(problems) = alertmanager.reload().await
        {
            warn!(%problems, "the alertmanager.yml is wrong; the one from before stays in force");
        }
    }
}
