//! PromQL for the rules, the series crate's parser behind alerting's trait; and SIGHUP, which reads them and the
//! `alertmanager.yml` again. Only wiring.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use watchkeep_alerting::{
    Alertmanager,
    rule::{Expressions, Rules},
};
use watchkeep_series::promql::{EvalError, Expr};

/// Judges expressions as the embedded engine reads them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PromQl {
    /// Whether experimental functions may be called: `query.experimental`.
    pub(crate) experimental: bool,
}

impl Expressions for PromQl {
    fn check(&self, expr: &str) -> Result<(), String> {
        let expr = Expr::parse(expr).map_err(|error| match error.position {
            Some(at) => format!("{error} (at byte {at})"),
            None => error.to_string(),
        })?;
        match expr.experimental() {
            Some(name) if !self.experimental => {
                Err(EvalError::Experimental(name.to_owned()).to_string())
            }
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_experimental_has_to_be_switched_on() {
        for expr in
            ["sort_by_label(up, \"a\")", "limitk(1, up)", "rate(up[1m] anchored)", "up[1m + 1m]"]
        {
            let check = |experimental| PromQl { experimental }.check(expr);
            let error = check(false).expect_err(expr);
            assert!(error.ends_with("set query.experimental to use it"), "{expr}: {error}");
            let switched_on = check(true).err().unwrap_or_default();
            assert!(!switched_on.contains("experimental"), "{expr}: {switched_on}");
        }
        assert_eq!(PromQl::default().check("sum(up)"), Ok(()));
        assert!(PromQl::default().check("sum(").is_err());
    }
}
