//! Cookies from one redirect to the next, and no longer than one probe: the simplest part of RFC 6265.

use ::http::{HeaderMap, HeaderValue, header::SET_COOKIE};

/// Most cookies of one probe.
const COOKIES_MAX: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Cookies(Vec<(String, String, String)>);

impl Cookies {
    /// Keeps what `host` sets.
    pub(super) fn keep(&mut self, host: &str, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let text = header.to_str().unwrap_or_default();
            let pair = text.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            self.0.retain(|(h, n, _)| h != host || n != name);
            if self.0.len() < COOKIES_MAX {
                self.0.push((host.to_owned(), name.to_owned(), value.to_owned()));
            }
        }
    }

    /// What `host` is told.
    pub(super) fn header(&self, host: &str) -> Option<HeaderValue> {
        let own = self.0.iter().filter(|(h, ..)| h == host);
        let pairs: Vec<_> = own.map(|(_, name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }
}
