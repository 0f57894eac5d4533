//! TLS towards another program's HTTP door, as scrapes and remote write are told.

use rustls::ClientConfig;
use watchkeep_catalog::{TlsSettings, access::Wrong};

use crate::probe::{Files, tls::Clients};

/// TLS as these settings say; files may lie anywhere, since they are named by whoever configured the collector.
///
/// # Errors
/// When a file cannot be read, or does not hold what it should.
pub(crate) fn tls(settings: Option<&TlsSettings>) -> Result<ClientConfig, Wrong> {
    let usual = TlsSettings::default();
    let settings = settings.unwrap_or(&usual);
    if settings.server_name.is_some() {
        let message = "the name in the URL is the one that is expected: remove it".to_owned();
        return Err(("tls_config.server_name".to_owned(), message));
    }
    let client = Clients::default().get(settings, &[], &Files::Any);
    let client = client.map_err(|message| {
        let message = message.strip_prefix("tls.").map(str::to_owned).unwrap_or(message);
        ("tls_config".to_owned(), message)
    })?;
    Ok(ClientConfig::clone(&client.made().config))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_hold_too_little_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("secret");
        fs::write(&file, "open sesame\n").expect("written");
        let text = |file: &std::path::Path| Some(file.display().to_string());
        let half = TlsSettings { key_file: text(&file), ..TlsSettings::default() };
        assert!(tls(Some(&half)).expect_err("half").1.contains("cert_file"));
        let empty = TlsSettings { ca_file: text(&file), ..TlsSettings::default() };
        assert!(tls(Some(&empty)).expect_err("none").1.contains("no certificate"));
        assert!(tls(None).is_ok());
    }
}
