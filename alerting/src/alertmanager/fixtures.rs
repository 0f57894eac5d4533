//! Records for this folder's unit tests.

use std::sync::Arc;

use tokio::sync::mpsc;
use watchkeep_catalog::{Alert, AlertSource, Client, LabelSet};

use super::{AlertmanagerConfig, metrics::Metrics, shared::Shared};
use crate::{
    AlertingConfig,
    context::Context,
    fixtures::{NoSamples, time},
};

/// What a node shares that has this file, and a registry that never answers.
pub(crate) fn shared(yaml: &str) -> Arc<Shared> {
    shared_with(yaml, &AlertingConfig::default())
}

/// The same with these settings of duty.
pub(crate) fn shared_with(yaml: &str, duty: &AlertingConfig) -> Arc<Shared> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config: AlertmanagerConfig = serde_saphyr::from_str(yaml).expect(yaml);
    config.validate().expect(yaml);
    let registry = prometheus::Registry::new();
    let client = Client::new(&["http://127.0.0.1:1".to_owned()]).expect("a client");
    let (id, url) = ("n1".to_owned(), "http://n1.example.org".to_owned());
    let context = Context::new(duty, id, url, client, Arc::new(NoSamples), 0.9999, &registry);
    let metrics = Metrics::new(&registry).expect("metrics");
    let (known, (intake, _)) = (config.clone(), mpsc::channel(1));
    let loader: super::Loader = Arc::new(move || Ok(known.clone()));
    let context = Arc::new(context.expect("a context"));
    Arc::new(Shared::new(context, (config, loader), metrics, intake).expect("good settings"))
}

/// An alert from one time to another, in seconds.
pub(crate) fn alert(labels: &[(&str, &str)], starts: i64, ends: Option<i64>) -> Alert {
    Alert {
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        annotations: LabelSet::new(),
        starts_at: time(starts),
        ends_at: ends.map(time),
        updated_at: time(starts),
        timeout: false,
        generator_url: String::new(),
        source: AlertSource::Api,
    }
}
