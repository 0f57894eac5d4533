//! Which addresses may be probed: judged on every address that a name resolves to, on every redirect and on
//! every proxy. A check is written by whoever may register an instance, so without this a collector could be
//! told to ask what only its own machine reaches, such as the cloud's metadata service.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use ipnet::IpNet;

use super::resolver::Resolver;

/// Denied unless allowed: what nobody means to probe, and what hands out credentials.
const DENIED: [&str; 5] = [
    "169.254.0.0/16",     // link-local, with the metadata address of most clouds
    "fe80::/10",          // link-local
    "fd00:ec2::254/128",  // metadata of AWS over IPv6
    "fd20:ce::254/128",   // metadata of Google over IPv6
    "100.100.100.200/32", // metadata of Alibaba
];

/// Ranges by which addresses are judged. The longest range that holds an address decides; of two alike, deny.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    /// The built-in ones: any allowed range that holds the address beats them.
    denied: Vec<IpNet>,
    /// Directories of Unix sockets.
    sockets: Vec<PathBuf>,
    /// Finds the addresses that are judged.
    pub(crate) resolver: Resolver,
}

impl Policy {
    /// # Errors
    /// The field and what is wrong with it.
    pub(crate) fn new(allow: &[String], deny: &[String]) -> Result<Self, (String, String)> {
        let ranges = |field: &str, texts: &[String]| {
            let ranges = texts.iter().enumerate().map(|(at, text)| {
                range(text).ok_or_else(|| {
                    let remedy = "give an address or a range, such as 10.0.0.0/8 or fd00::/8";
                    (format!("{field}[{at}]"), format!("is {text:?}: {remedy}"))
                })
            });
            ranges.collect::<Result<Vec<_>, _>>()
        };
        let (sockets, allow): (Vec<_>, Vec<_>) =
            allow.iter().cloned().partition(|entry| entry.starts_with('/'));
        Ok(Self {
            allow: ranges("allow", &allow)?,
            sockets: sockets.into_iter().map(PathBuf::from).collect(),
            deny: ranges("deny", deny)?,
            denied: DENIED.iter().filter_map(|text| range(text)).collect(),
            resolver: Resolver::default(),
        })
    }

    /// # Errors
    /// In words, when it must not be probed.
    pub(crate) fn judge(&self, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        let longest = |ranges: &[IpNet]| {
            let held = ranges.iter().filter(|range| range.contains(&address));
            held.max_by_key(|range| range.prefix_len()).copied()
        };
        let allowed = longest(&self.allow);
        if let Some(range) = longest(&self.deny)
            && allowed.is_none_or(|allowed| allowed.prefix_len() <= range.prefix_len())
        {
            return Err(format!(
                "{address} must not be probed: collector.targets.deny has {range}"
            ));
        }
        match longest(&self.denied) {
            Some(range) if allowed.is_none() => Err(format!(
                "{address} must not be probed: {range} is link-local or metadata; \
                 collector.targets.allow may name it"
            )),
            _ => Ok(()),
        }
    }
}

impl Policy {
    /// The Unix socket at `path`. It need not be there yet, its directory does.
    ///
    /// # Errors
    /// In words, when it must not be probed.
    pub(crate) fn socket(&self, path: &str) -> Result<PathBuf, String> {
        let (parent, name) = Path::new(path)
            .parent()
            .zip(Path::new(path).file_name())
            .ok_or_else(|| format!("unix_socket {path:?}: give the path of a socket"))?;
        let parent = fs::canonicalize(parent).map_err(|e| format!("unix_socket {path:?}: {e}"))?;
        let is_allowed = self
            .sockets
            .iter()
            .any(|dir| fs::canonicalize(dir).is_ok_and(|dir| parent.starts_with(dir)));
        if is_allowed && !parent.join(name).is_symlink() {
            return Ok(parent.join(name));
        }
        Err(format!(
            "unix_socket {path:?} must not be probed: collector.targets.allow may name its directory"
        ))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            sockets: Vec::new(),
            denied: DENIED.iter().filter_map(|text| range(text)).collect(),
            resolver: Resolver::default(),
        }
    }
}

/// A range, or an address alone.
fn range(text: &str) -> Option<IpNet> {
    IpNet::from_str(text).ok().or_else(|| IpAddr::from_str(text).ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_range_decides() {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        for (allow, deny, address, words) in [
            (&[][..], &[][..], "127.0.0.1", ""),
            (&[], &[], "::1", ""),
            (&[], &[], "10.1.2.3", ""),
            (&[], &[], "169.254.169.254", "169.254.0.0/16 is link-local"),
            (&[], &[], "::ffff:169.254.169.254", "169.254.0.0/16 is link-local"),
            (&[], &[], "fe80::1", "fe80::/10 is link-local"),
            (&[], &[], "fd00:ec2::254", "fd00:ec2::254/128 is link-local or metadata"),
            (&["169.254.1.0/24"], &[], "169.254.1.2", ""),
            (&["169.254.1.0/24"], &[], "169.254.2.2", "must not be probed"),
            (&[], &["10.0.0.0/8"], "10.1.2.3", "collector.targets.deny has 10.0.0.0/8"),
            (&["10.1.0.0/16"], &["10.0.0.0/8"], "10.1.2.3", ""),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3", "deny has 10.1.0.0/16"),
            (&["10.1.2.3"], &["0.0.0.0/0"], "10.1.2.3", ""),
            (&[], &["0.0.0.0/0", "::/0"], "127.0.0.1", "deny has 0.0.0.0/0"),
            (&["10.0.0.0/8"], &["10.0.0.0/8"], "10.1.2.3", "deny has 10.0.0.0/8"),
        ] {
            let policy = Policy::new(&texts(allow), &texts(deny)).expect("ranges");
            let judged = policy.judge(address.parse().expect("an address"));
            match judged {
                Ok(()) => assert_eq!(words, "", "{address} {allow:?} {deny:?}"),
                Err(said) => assert!(!words.is_empty() && said.contains(words), "{said}"),
            }
        }
        let wrong = Policy::new(&[], &texts(&["10.0.0.0/8", "ten"])).expect_err("no range");
        assert_eq!(wrong.0, "deny[1]");
    }
}
