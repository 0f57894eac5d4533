//! Opens what is on disk: state, log, users.

use std::{fs, path::Path};

use prometheus::Registry;

use crate::{
    auth::{Auth, AuthMetrics, Passwords, Provider, ProviderError, Tables},
    config::{Invalid, RegistryConfig},
    error::StartError,
    store::{Store, StoreView},
    wal::{LogStore, WalMetrics, WalOptions},
};

/// State and log, on a thread of their own, since it reads files. Where the member has been up before, a log that has
/// vanished is refused: nothing would tell that it once held more.
pub(super) async fn state_and_log(
    config: &RegistryConfig,
    registry: &Registry,
    salt: u64,
    is_new: bool,
) -> Result<(Store, LogStore), StartError> {
    let wal_metrics = WalMetrics::new(registry).map_err(StartError::Metrics)?;
    let options = WalOptions { segment_bytes: config.log_segment_bytes, ..WalOptions::new(salt) };
    let (data_dir, id) = (config.data_dir.clone(), config.node_id);
    let opening = move || -> Result<(Store, LogStore), StartError> {
        let log_dir = data_dir.join("log");
        let is_empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_none());
        // Its first files are older than the identity.
        if !is_new && (!log_dir.exists() || is_empty(&log_dir)) {
            return Err(StartError::LogLost { id, log_dir, data_dir });
        }
        let store = Store::open(&data_dir.join("state")).map_err(StartError::state)?;
        let log = LogStore::open(&log_dir, options, wal_metrics).map_err(StartError::state)?;
        if store.applied().any && log.is_new() {
            return Err(StartError::LogLost { id, log_dir, data_dir });
        }
        Ok((store, log))
    };
    tokio::task::spawn_blocking(opening).await.map_err(StartError::state)?
}

/// Users, roles and how they are known.
pub(super) fn auth(
    config: &RegistryConfig,
    view: &StoreView,
    registry: &Registry,
) -> Result<Auth, StartError> {
    let wrong = |error: ProviderError| {
        let path = "auth_token".to_owned();
        StartError::Config(vec![Invalid { path, message: error.to_string() }])
    };
    let provider = Provider::new(&config.auth_token).map_err(wrong)?;
    let tables = Tables::load(view).map_err(StartError::state)?;
    let metrics = AuthMetrics::new(registry).map_err(StartError::Metrics)?;
    Ok(Auth::new(tables, provider, Passwords::new(config.bcrypt_cost), metrics))
}
