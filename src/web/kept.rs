//! A web configuration as its file says at the moment. A file that is broken changes nothing: what held before holds.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::Web;
use crate::{
    config::{self, Problems},
    metrics::WebMetrics,
};

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The latest that was good.
pub(crate) struct Kept {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    current: Arc<Web>,
    /// What was wrong when the files were last looked at, so that it is said once.
    complaint: Option<String>,
}

impl Kept {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        let current = config::web::load(path)?;
        let state = State { current: Arc::new(current), complaint: None };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// What holds now.
    pub(crate) fn current(&self) -> Arc<Web> {
        Arc::clone(&self.state().current)
    }

    /// Looks at the files. True: they changed, and [`Self::current`] is new. Blocks for as long as reading a few small files
    /// takes.
    ///
    /// # Errors
    /// What is wrong with them; said once for each change.
    fn refresh(&self) -> Result<bool, String> {
        let (current, was_good) = {
            let state = self.state();
            (Arc::clone(&state.current), state.complaint.is_none())
        };
        // A file that was of no use may name others, which nobody has looked at here.
        if was_good && current.is_fresh() {
            return Ok(false);
        }
        let made = config::web::load(&self.path).map_err(|wrong| wrong.to_string());
        let made = made.and_then(|made| match made.demands().tls == current.demands().tls {
            true => Ok(made),
            false => Err(format!(
                "{}: tls_server_config is new or gone: TLS is switched on and off by a restart alone",
                self.path.display()
            )),
        });
        let mut state = self.state();
        match made {
            Ok(made) => {
                *state = State { current: Arc::new(made), complaint: None };
                Ok(true)
            }
            Err(wrong) => {
                if state.complaint.as_ref() == Some(&wrong) {
                    return Ok(false);
                }
                state.complaint = Some(wrong.clone());
                Err(wrong)
            }
        }
    }

    /// Looks at the files for as long as it runs.
    pub(crate) async fn keep_fresh(self: Arc<Self>, metrics: WebMetrics) {
        metrics.expires(self.current().not_after_seconds());
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looked = Arc::clone(&self);
            // Reading files blocks; a task that does not end in order has read nothing.
            let Ok(looked) = tokio::task::spawn_blocking(move || looked.refresh()).await else {
                continue;
            };
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    info!(file = %self.path.display(), "web configuration read anew");
                    metrics.reloads.with_label_values(&["taken"]).inc();
                    metrics.expires(self.current().not_after_seconds());
                }
                Err(error) => {
                    warn!(%error, "web configuration not read anew; the former one stays");
                    metrics.reloads.with_label_values(&["refused"]).inc();
                }
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_changed_file_is_taken_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("web.yml");
        let write = |text: &str| fs::write(&file, text).expect("written");
        write("http_server_config: {headers: {X-Frame-Options: deny}}\n");
        let kept = Kept::load(&file).expect("good");
        let said = || {
            let value = kept.current().headers().get("x-frame-options").cloned();
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!((kept.refresh(), said().as_deref()), (Ok(false), Some("deny")));
        write("http_server_config: {headers: {X-Frame-Options: sameorigin}}\n");
        assert_eq!((kept.refresh(), said().as_deref()), (Ok(true), Some("sameorigin")));
        write("http_server_config: {headers: {X-Frame-Options: never}}\n");
        let refused = kept.refresh().expect_err("refused");
        assert!(refused.contains("web.yml:1: http_server_config.headers.X-Frame-Options: "));
        assert_eq!((kept.refresh(), said().as_deref()), (Ok(false), Some("sameorigin")));
        fs::remove_file(&file).expect("removed");
        assert!(kept.refresh().expect_err("refused").contains("cannot be read"));
        write("# nothing\n");
        assert_eq!((kept.refresh(), said()), (Ok(true), None));
        write("tls_server_config: {cert_file: absent.pem, key_file: absent.pem}\n");
        assert!(kept.refresh().expect_err("refused").contains("absent.pem: No such file"));
    }
}
