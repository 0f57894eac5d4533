//! What a `target` means to each prober, as blackbox_exporter reads it.

use http::{Uri, uri::Authority};

use super::config::ProberKind;

/// A target, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aim {
    /// Host name or IP address, without brackets.
    pub(super) address: String,
    /// Port; none: the prober's own.
    pub(super) port: Option<u16>,
    /// Whether the target says `https`.
    pub(super) https: bool,
    /// Path and query.
    pub(super) path: String,
    /// `name:password`, from before the `@`.
    pub(super) user: Option<String>,
    /// Host and port as they were written: what an HTTP server is told.
    pub(super) host: String,
}

impl Aim {
    /// Takes `target` apart.
    ///
    /// # Errors
    /// In words, when the prober cannot mean anything by it.
    pub(super) fn read(prober: ProberKind, target: &str) -> Result<Self, String> {
        match prober {
            ProberKind::Http | ProberKind::Grpc => Self::of_url(target),
            ProberKind::Tcp => match Self::of_address(target)? {
                Self { port: None, .. } => {
                    Err(format!("target {target:?} has no port: write it as host:port"))
                }
                aim => Ok(aim),
            },
            ProberKind::Dns => Self::of_address(target),
            ProberKind::Icmp => Ok(Self::of_host(without_brackets(target))),
        }
    }

    /// `[scheme://][user[:password]@]host[:port][/path][?query]`.
    fn of_url(target: &str) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("target {target:?}: {why}");
        let has_scheme = target.starts_with("http://") || target.starts_with("https://");
        let url = if has_scheme { target.to_owned() } else { format!("http://{target}") };
        let url: Uri = url.parse().map_err(|error| wrong(&error))?;
        let authority = url.authority().ok_or_else(|| wrong(&"it has no host"))?;
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(decoded(user)), host),
            None => (None, authority.as_str()),
        };
        let address = without_brackets(authority.host());
        if address.is_empty() {
            return Err(wrong(&"it has no host"));
        }
        // An empty port (`host:`) is none.
        if authority.port_u16().is_none()
            && !authority.as_str().ends_with(authority.host())
            && !host.ends_with(':')
        {
            return Err(wrong(&"its port is not a number of 0 to 65535"));
        }
        Ok(Self {
            port: authority.port_u16(),
            https: url.scheme_str() == Some("https"),
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            user,
            host: host.trim_end_matches(':').to_owned(),
            ..Self::of_host(address)
        })
    }

    /// `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
    fn of_address(target: &str) -> Result<Self, String> {
        if target.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(Self::of_host(target));
        }
        let parsed: Authority = target.parse().map_err(|e| format!("target {target:?}: {e}"))?;
        let aim = Self::of_host(without_brackets(parsed.host()));
        let behind = &target[parsed.host().len().min(target.len())..];
        match (parsed.port_u16(), behind) {
            (Some(port), _) => Ok(Self { port: Some(port), ..aim }),
            (None, "") => Ok(aim),
            (None, _) => Err(format!("target {target:?}: its port is not a number of 0 to 65535")),
        }
    }

    fn of_host(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            port: None,
            https: false,
            path: "/".to_owned(),
            user: None,
            host: address.to_owned(),
        }
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Percent-encoding undone; what is none stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_of_each_prober() {
        use ProberKind::{Dns, Grpc, Http, Icmp, Tcp};
        for (prober, target, address, port, https, path) in [
            (Http, "web.example", "web.example", None, false, "/"),
            (Http, "web.example:8080/a?b=c", "web.example", Some(8080), false, "/a?b=c"),
            (Http, "https://[::1]:8443/x", "::1", Some(8443), true, "/x"),
            (Http, "http://web.example:", "web.example", None, false, "/"),
            (Grpc, "127.0.0.1:50051", "127.0.0.1", Some(50051), false, "/"),
            (Tcp, "[::1]:22", "::1", Some(22), false, "/"),
            (Tcp, "host.example:22", "host.example", Some(22), false, "/"),
            (Dns, "127.0.0.1", "127.0.0.1", None, false, "/"),
            (Dns, "::1", "::1", None, false, "/"),
            (Dns, "127.0.0.1:5353", "127.0.0.1", Some(5353), false, "/"),
            (Icmp, "localhost", "localhost", None, false, "/"),
        ] {
            let aim = Aim::read(prober, target).expect(target);
            assert_eq!(
                (aim.address.as_str(), aim.port, aim.https, aim.path.as_str()),
                (address, port, https, path),
                "{target}"
            );
        }
        for (prober, target) in [
            (Tcp, "host"),
            (Tcp, "host:ssh"),
            (Http, "http://"),
            (Http, "http://a b/"),
            (Http, "h:99999"),
            (Dns, "h:x"),
        ] {
            assert!(Aim::read(prober, target).is_err(), "{target}");
        }
    }

    #[test]
    fn names_and_passwords() {
        let aim =
            Aim::read(ProberKind::Http, "http://scott:ti%67er@web.example/").expect("a target");
        assert_eq!(aim.user.as_deref(), Some("scott:tiger"));
        assert_eq!((aim.address.as_str(), aim.host.as_str()), ("web.example", "web.example"));
    }

    proptest! {
        #[test]
        fn no_target_makes_the_reader_panic(target in "\\PC*|[-a-z0-9:/@?%.\\[\\]]{0,40}") {
            for prober in [ProberKind::Http, ProberKind::Tcp, ProberKind::Dns, ProberKind::Icmp] {
                let _ = Aim::read(prober, &target);
            }
        }
    }
}
