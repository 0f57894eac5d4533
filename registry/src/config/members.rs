//! Whom the cluster begins with, judged.

use std::net::{IpAddr, SocketAddr};

use super::{InitialClusterState, Invalid, RegistryConfig};

/// What is wrong with the members in these settings, and with what clients are told.
pub(super) fn check(config: &RegistryConfig, invalid: &mut Vec<Invalid>) {
    let mut refuse = |path: &str, message: String| {
        invalid.push(Invalid { path: path.to_owned(), message });
    };
    if config.node_id == 0 {
        refuse("node_id", "0 is not allowed: give each member a number from 1".to_owned());
    } else if !config.initial_cluster.contains_key(&config.node_id) {
        let (id, known) = (config.node_id, config.initial_cluster.keys().collect::<Vec<_>>());
        refuse(
            "initial_cluster",
            format!(
                "member {id} is not in it; it has {known:?}: add {id}=host:port of its peer listener"
            ),
        );
    }
    if config.initial_cluster_state == InitialClusterState::Existing
        && config.initial_cluster.keys().all(|id| *id == config.node_id)
    {
        let message = "it names nobody but this member, which is to join an existing cluster: add a member that is up, as \
                       id=host:port of its peer listener";
        refuse("initial_cluster", message.to_owned());
    }
    for (id, address) in &config.initial_cluster {
        let mut wrong = |what: String| refuse("initial_cluster", format!("member {id}: {what}"));
        if host_and_port(address).is_none() {
            wrong(format!("{address:?} is not host:port; write it like 10.0.0.1:2380"));
            continue;
        }
        // Of this node's own number it is said above.
        if *id == 0 && config.node_id != 0 {
            wrong("0 is no number of a member: give each a number from 1".to_owned());
        }
        let same = config.initial_cluster.iter().find(|(other, a)| *other < id && *a == address);
        if let Some((other, _)) = same {
            wrong(format!("{address} is member {other}'s address: each has its own"));
        }
    }
    if config.client_url.is_none() && config.client_listen.ip().is_unspecified() {
        refuse("client_listen", unreachable(config.client_listen));
    }
}

/// The members at whose address nobody can reach them. Only a first start is refused for it: later ones know better.
pub(crate) fn unreachable_members(config: &RegistryConfig) -> Vec<Invalid> {
    let unspecified = |(id, address): (&u64, &String)| {
        let (host, port) = host_and_port(address)?;
        host.parse::<IpAddr>().ok().filter(IpAddr::is_unspecified)?;
        let message = format!(
            "member {id}: others cannot reach {address}: give the host or address at which they reach its peer listener, \
             as {id}=10.0.0.1:{port}"
        );
        Some(Invalid { path: "initial_cluster".to_owned(), message })
    };
    config.initial_cluster.iter().filter_map(unspecified).collect()
}

fn unreachable(listen: SocketAddr) -> String {
    format!(
        "others cannot reach {listen}: say in registry.client_url (or --client-url) how clients reach this node, like \
         http://10.0.0.1:{}",
        listen.port()
    )
}

/// The two parts of `host:port`; an IPv6 address stands in brackets.
pub(crate) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty() && !host.contains('/')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn addresses_that_nobody_could_use_are_named() {
        let said = |members: &[(u64, &str)]| {
            let members = members.iter().map(|(id, at)| (*id, (*at).to_owned()));
            let config = RegistryConfig {
                initial_cluster: members.collect::<BTreeMap<_, _>>(),
                ..RegistryConfig::default()
            };
            let invalid = config.validate().err().unwrap_or_default();
            invalid.into_iter().map(|i| i.message).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(&[(1, "h:2380"), (2, "[::1]:2380"), (3, "10.0.0.3:2380")]), "");
        for (members, part) in [
            (&[(1, "h:2380"), (2, "h:2380")][..], "member 2: h:2380 is member 1's address"),
            (&[(1, "h")], "member 1: \"h\" is not host:port"),
            (&[(1, "http://h:2380")], "member 1: \"http://h:2380\" is not host:port"),
            (&[(0, "h:2380"), (1, "i:2380")], "member 0: 0 is no number of a member"),
            (&[(2, "h:2380")], "member 1 is not in it; it has [2]"),
        ] {
            assert!(said(members).contains(part), "{members:?}: {}", said(members));
        }
        for (address, count) in
            [("0.0.0.0:2380", 1), ("[::]:2380", 1), ("[::1]:2380", 0), ("h:2380", 0)]
        {
            let initial_cluster = BTreeMap::from([(1, address.to_owned())]);
            let config = RegistryConfig { initial_cluster, ..RegistryConfig::default() };
            assert_eq!(unreachable_members(&config).len(), count, "{address}");
        }
        let nobody = RegistryConfig { node_id: 0, ..RegistryConfig::default() };
        let invalid = nobody.validate().expect_err("no number");
        assert_eq!(invalid.len(), 1, "{invalid:?}");
        let everywhere = RegistryConfig {
            client_listen: "0.0.0.0:2379".parse().expect("an address"),
            ..RegistryConfig::default()
        };
        let invalid = everywhere.validate().expect_err("clients are told nothing of use");
        assert!(invalid[0].message.contains("registry.client_url"), "{invalid:?}");
        let told = RegistryConfig { client_url: Some("http://h:2379".to_owned()), ..everywhere };
        assert_eq!(told.validate(), Ok(()));
    }
}
