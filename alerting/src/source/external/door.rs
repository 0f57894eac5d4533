//! What a request to the data source is sent with: client and headers, made anew when a file of theirs has changed. One that
//! is of no use then changes nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use reqwest::header::{AUTHORIZATION, HeaderMap};
use tracing::warn;
use watchkeep_catalog::access::{Credentials, Wrong};

use super::config::DataSourceConfig;

/// When each file of TLS was changed last, and how long it is.
pub(super) type Stamps = [Option<(SystemTime, u64)>; 3];

#[derive(Debug)]
pub(super) struct Door {
    config: DataSourceConfig,
    headers: HeaderMap,
    credentials: Credentials,
    made: Mutex<(Stamps, reqwest::Client)>,
}

impl Door {
    pub(super) fn new(config: &DataSourceConfig) -> Result<Self, Wrong> {
        Ok(Self {
            config: config.clone(),
            headers: config.headers()?,
            credentials: config.credentials()?,
            made: Mutex::new((config.stamps(), config.client()?)),
        })
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.extend(self.credentials.header().map(|value| (AUTHORIZATION, value)));
        headers
    }

    pub(super) fn client(&self) -> reqwest::Client {
        let stamps = self.config.stamps();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps != made.0 {
            match self.config.client() {
                Ok(client) => made.1 = client,
                Err((field, reason)) => {
                    warn!(field, reason, "changed TLS files are of no use, the former hold");
                }
            }
            made.0 = stamps;
        }
        made.1.clone()
    }
}
