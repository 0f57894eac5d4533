//! The etcd probe: one member of any etcd: its leader, alarms, lag and size, a read with its cluster, and, if asked
//! for, a write.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use watchkeep_catalog::{EtcdCheck, Examination, MemberState, examine};

use super::{Context, Endpoint, Phase, Stopwatch, files::SecretText, tls::Tls};

#[derive(Debug)]
pub(super) struct EtcdProbe {
    tls: Option<Tls>,
    url: String,
    login: Option<(String, SecretText)>,
    canary_key: Option<String>,
    raft_lag_max: u64,
    db_bytes_max: Option<u64>,
}

impl EtcdProbe {
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &EtcdCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let tls = check.tls.as_ref();
        let tls = tls.map(|tls| context.tls(tls, &["h2"], &endpoint.address)).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let login = match (&check.username, &check.password) {
            (Some(name), Some(password)) => {
                Some((name.clone(), context.files.secret("etcd.password", password)?))
            }
            _ => None,
        };
        Ok(Self {
            tls,
            url: format!("{scheme}://{endpoint}"),
            login,
            canary_key: check.canary_key.clone(),
            raft_lag_max: check.raft_lag_max,
            db_bytes_max: check.db_bytes_max,
        })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        let stream = endpoint.connect(watch).await?;
        let state = match &self.tls {
            None => self.ask(stream, watch).await?,
            Some(tls) => {
                let stream = tls.connect(stream, endpoint, watch).await?;
                self.ask(stream, watch).await?
            }
        };
        tell(&state, watch);
        self.judge(&state)
    }

    async fn ask<S>(&self, stream: S, watch: &mut Stopwatch) -> Result<MemberState, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        watch.enter(Phase::Processing);
        let login = self.login.as_ref().map(|(name, password)| (name, password.text()));
        let ask = Examination {
            login: login.as_ref().map(|(name, password)| (name.as_str(), password.as_str())),
            canary_key: self.canary_key.as_deref(),
        };
        examine(stream, &self.url, ask).await
    }

    fn judge(&self, state: &MemberState) -> Result<String, String> {
        let id = state.id;
        if state.leader == 0 {
            return Err(format!("member {id:x} knows no leader"));
        }
        if !state.alarms.is_empty() {
            return Err(format!("member {id:x}: alarm {}", state.alarms.join(", ")));
        }
        if !state.errors.is_empty() {
            return Err(format!("member {id:x}: {}", state.errors.join(", ")));
        }
        if state.raft_lag > self.raft_lag_max {
            let (lag, most) = (state.raft_lag, self.raft_lag_max);
            return Err(format!(
                "member {id:x} lags {lag} entries behind, at most {most} expected"
            ));
        }
        match self.db_bytes_max {
            Some(most) if state.db_bytes > most => Err(format!(
                "member {id:x}: its database has {} bytes, at most {most} expected",
                state.db_bytes
            )),
            _ => {
                let role = match (state.leader == id, state.is_learner) {
                    (true, _) => "leader",
                    (_, true) => "learner",
                    _ => "follower",
                };
                Ok(format!("member {id:x} is {role}, etcd {}", state.version))
            }
        }
    }
}

fn tell(state: &MemberState, watch: &mut Stopwatch) {
    // Sizes and lags are far below 2^53.
    let number = |value: u64| value as f64;
    let is = |yes: bool| f64::from(u8::from(yes));
    for (name, value) in [
        ("probe_etcd_has_leader", is(state.leader != 0)),
        ("probe_etcd_is_leader", is(state.leader != 0 && state.leader == state.id)),
        ("probe_etcd_is_learner", is(state.is_learner)),
        ("probe_etcd_raft_lag", number(state.raft_lag)),
        ("probe_etcd_db_bytes", number(state.db_bytes)),
        ("probe_etcd_db_in_use_bytes", number(state.db_in_use_bytes)),
        ("probe_etcd_alarms", number(state.alarms.len() as u64)),
    ] {
        watch.fact(name, value);
    }
    watch.fact_with("probe_etcd_info", &[("version", &state.version)], 1.0);
    let took = [("status", Some(state.status_took)), ("read", Some(state.read_took))];
    for (phase, took) in took.into_iter().chain([("canary", state.canary_took)]) {
        if let Some(took) = took {
            let labels = [("phase", phase)];
            watch.fact_with("probe_etcd_duration_seconds", &labels, took.as_secs_f64());
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
