//! What a replay has to know of the node: its rules' settings, who is told of what, and what people changed in it since.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use watchkeep_alerting::{AlertingConfig, AlertmanagerConfig, paging::Paging};
use watchkeep_catalog::{AlertMatcher, AlertSilence, ScheduleChange, Time};

use crate::{
    cli::api::Api,
    config::{self, Flags, QueryConfig},
};

/// A node's settings, as a file has them or as the node shows them.
pub(super) struct Settings {
    pub(super) alerting: AlertingConfig,
    pub(super) query: QueryConfig,
    alertmanager: Option<AlertmanagerConfig>,
    /// How others reach the node.
    pub(super) url: String,
}

/// What is of interest in the configuration that a node shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    alerting: AlertingConfig,
    query: QueryConfig,
    external_url: Option<String>,
}

impl Settings {
    /// Of a configuration file; else those of the node at `url`.
    pub(super) async fn read(file: Option<&Path>, api: &Api, url: &str) -> anyhow::Result<Self> {
        match file {
            Some(file) => Self::of_file(file),
            None => Self::of_node(api, url).await.context(
                "the node's configuration is not known by its API: give the file with --config",
            ),
        }
    }

    fn of_file(file: &Path) -> anyhow::Result<Self> {
        let config = config::load(Some(file), &Flags::default())?;
        let alertmanager = config.alerting.alertmanager_config.as_deref();
        let alertmanager = alertmanager.map(config::alertmanager::load).transpose()?;
        let url = config.url();
        Ok(Self { alerting: config.alerting, query: config.query, alertmanager, url })
    }

    async fn of_node(api: &Api, url: &str) -> anyhow::Result<Self> {
        let answer: Value = api.get("/api/v1/status/config").await?;
        let yaml = answer["data"]["yaml"].as_str().context("/api/v1/status/config: no YAML")?;
        let Shown { alerting, query, external_url } = read(yaml)?;
        let alertmanager = match &alerting.alertmanager_config {
            None => None,
            Some(_) => {
                let status: Value = api.get("/api/v2/status").await?;
                let original = status["config"]["original"].as_str();
                let original = original.context("/api/v2/status: no configuration")?;
                Some(read(original).context("/api/v2/status")?)
            }
        };
        let url = external_url.unwrap_or_else(|| url.to_owned());
        Ok(Self { alerting, query, alertmanager, url })
    }

    /// Who is told of what, with the changes of schedules and the silences that the node has.
    pub(super) async fn paging(&self, api: &Api) -> anyhow::Result<Paging> {
        let paging = Paging::new(&self.alerting, self.alertmanager.clone(), &self.url);
        let mut paging = paging.map_err(anyhow::Error::msg)?;
        let schedules: Vec<String> = paging.schedules().map(str::to_owned).collect();
        for schedule in schedules {
            // A schedule that only the file has is unchanged.
            let path = format!("/v1/oncall/schedules/{schedule}/changes");
            let Some(answer) = api.find::<Value>(&path).await? else { continue };
            let changes: Vec<ScheduleChange> = serde_json::from_value(answer["changes"].clone())
                .with_context(|| format!("{path}: answer not understood"))?;
            changes.into_iter().for_each(|change| paging.change(change));
        }
        // A node without routes has no silences.
        if paging.is_routed()
            && let Some(silences) = api.find::<Vec<Silence>>("/api/v2/silences").await?
        {
            silences.into_iter().for_each(|silence| paging.silence(silence.into()));
        }
        Ok(paging)
    }
}

fn read<T: DeserializeOwned>(yaml: &str) -> anyhow::Result<T> {
    serde_saphyr::from_str(yaml)
        .map_err(|e: serde_saphyr::Error| anyhow::anyhow!("{}", e.without_snippet()))
}

/// A silence as Alertmanager's API shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    id: String,
    matchers: Vec<Matcher>,
    starts_at: Time,
    ends_at: Time,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    is_regex: bool,
    is_equal: bool,
}

impl From<Silence> for AlertSilence {
    fn from(Silence { id, matchers, starts_at, ends_at }: Silence) -> Self {
        let matcher = |Matcher { name, value, is_regex, is_equal }| AlertMatcher {
            name,
            value,
            is_regex,
            is_equal,
        };
        Self {
            id,
            matchers: matchers.into_iter().map(matcher).collect(),
            starts_at,
            ends_at,
            updated_at: starts_at,
            created_by: String::new(),
            comment: String::new(),
        }
    }
}
