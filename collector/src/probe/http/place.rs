//! Where a request goes: scheme, host, port and path. The first place is the check's, further ones are redirects'.

use url::{Host, Url};

/// A place that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tls: bool,
    /// Host name or IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
}

impl Place {
    /// # Errors
    /// In words, when it is no HTTP URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|e| e.to_string())?;
        Self::of(&url)
    }

    fn of(url: &Url) -> Result<Self, String> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("{other}: is neither http nor https")),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("it names no host".to_owned()),
        };
        let port = url.port_or_known_default().unwrap_or(if tls { 443 } else { 80 });
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self { tls, host, port, path })
    }

    /// Where a `location` leads from here, when `authority` is what this place calls itself.
    ///
    /// # Errors
    /// In words, when it leads nowhere.
    pub(crate) fn join(&self, authority: &str, location: &str) -> Result<Self, String> {
        let scheme = if self.tls { "https" } else { "http" };
        let base = Url::parse(&format!("{scheme}://{authority}{}", self.path));
        let url = base.and_then(|base| base.join(location)).map_err(|e| e.to_string())?;
        Self::of(&url)
    }

    /// Host and port as the `host` header has them: the port only when it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = self.bracketed();
        if self.port == if self.tls { 443 } else { 80 } {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The host, an IPv6 address in brackets.
    pub(crate) fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_redirects_lead() {
        let here = Place::parse("http://[::1]:8080/a/b?c").expect("a URL");
        assert_eq!((here.authority(), here.path.as_str()), ("[::1]:8080".into(), "/a/b?c"));
        for (location, words) in [
            ("/x", "http [::1]:8080 /x"),
            ("x?y#z", "http [::1]:8080 /a/x?y"),
            ("https://web.example", "https web.example /"),
            ("//web.example:81/x", "http web.example:81 /x"),
        ] {
            let next = here.join("[::1]:8080", location).expect(location);
            let scheme = if next.tls { "https" } else { "http" };
            assert_eq!(format!("{scheme} {} {}", next.authority(), next.path), words);
        }
        for location in ["ftp://web.example/", "http://", "file:///etc/passwd"] {
            assert!(here.join("[::1]:8080", location).is_err(), "{location}");
        }
    }
}
