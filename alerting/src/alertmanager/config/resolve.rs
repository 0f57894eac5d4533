//! Relative paths in an `alertmanager.yml` lie beside it: those of templates, certificates, and secrets of HTTP.

use std::path::Path;

use super::{AlertmanagerConfig, HttpConfig, TlsConfig};

pub(super) fn resolve(config: &mut AlertmanagerConfig, dir: &Path) {
    for template in &mut config.templates {
        join(dir, template);
    }
    let global = &mut config.global;
    http(dir, &mut global.http_config);
    tls(dir, &mut global.smtp_tls_config);
    for receiver in &mut config.receivers {
        receiver.email_configs.iter_mut().for_each(|c| tls(dir, &mut c.tls_config));
        receiver.webhook_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
        receiver.slack_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
        receiver.pagerduty_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
        receiver.opsgenie_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
        receiver.telegram_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
        receiver.discord_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
        receiver.msteamsv2_configs.iter_mut().for_each(|c| http(dir, &mut c.http_config));
    }
}

fn join(dir: &Path, file: &mut String) {
    if !file.is_empty() && Path::new(file.as_str()).is_relative() && !dir.as_os_str().is_empty() {
        *file = dir.join(&file).display().to_string();
    }
}

fn tls(dir: &Path, config: &mut Option<TlsConfig>) {
    let Some(config) = config else { return };
    for file in [&mut config.ca_file, &mut config.cert_file, &mut config.key_file] {
        file.iter_mut().for_each(|file| join(dir, file));
    }
}

fn http(dir: &Path, config: &mut Option<HttpConfig>) {
    let Some(config) = config else { return };
    config.bearer_token_file.iter_mut().for_each(|file| join(dir, file));
    if let Some(auth) = &mut config.basic_auth {
        auth.password_file.iter_mut().for_each(|file| join(dir, file));
        auth.username_file.iter_mut().for_each(|file| join(dir, file));
    }
    if let Some(auth) = &mut config.authorization {
        auth.credentials_file.iter_mut().for_each(|file| join(dir, file));
    }
    if let Some(auth) = &mut config.oauth2 {
        auth.client_secret_file.iter_mut().for_each(|file| join(dir, file));
        tls(dir, &mut auth.tls_config);
    }
    config.http_headers.values_mut().flat_map(|h| &mut h.files).for_each(|file| join(dir, file));
    tls(dir, &mut config.tls_config);
}
