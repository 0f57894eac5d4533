//! `watchkeep member list | add | promote | remove | update`: the members of the registry.

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use watchkeep_catalog::{
    ClientError,
    client::{RegistryMember, RegistryMembers},
};

use super::way::{Output, Way};
use crate::out;

/// `watchkeep member …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Who the members are
    List(List),
    /// Add a member; its number is answered, and how to start it
    Add(Add),
    /// Give a learner a vote
    Promote(ById),
    /// Remove a member for ever
    Remove(ById),
    /// Say at which peer address a member is from now on
    Update(Update),
}

/// Arguments of `watchkeep member list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    way: Way,
}

/// Arguments of `watchkeep member add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    way: Way,
    /// Peer address of the new member, as the others reach it
    #[arg(value_name = "HOST:PORT")]
    peer: String,
    /// It gets no vote until `watchkeep member promote`
    #[arg(long)]
    learner: bool,
}

/// Arguments of `watchkeep member promote` and `remove`.
#[derive(Debug, Args)]
pub(crate) struct ById {
    #[command(flatten)]
    way: Way,
    /// The member's number
    id: u64,
}

/// Arguments of `watchkeep member update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    way: Way,
    /// The member's number
    id: u64,
    /// Its new peer address
    #[arg(value_name = "HOST:PORT")]
    peer: String,
}

impl Member {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(List { way }) => {
                let members = way.client()?.members().await?;
                answer(&way, &members, None, || {
                    out::table(&table(&members));
                });
            }
            Self::Add(Add { way, peer, learner }) => {
                let (id, members) =
                    way.client()?.add_member(&url(&peer)?, learner).await.map_err(left_open)?;
                answer(&way, &members, Some(id), || told_of(id, learner, &members));
            }
            Self::Promote(ById { way, id }) => {
                let members = way.client()?.promote_member(id).await.map_err(left_open)?;
                answer(&way, &members, Some(id), || {
                    out::line(format_args!("member {id} votes now"))
                });
            }
            Self::Remove(ById { way, id }) => {
                let members = way.client()?.remove_member(id).await.map_err(left_open)?;
                answer(&way, &members, Some(id), || {
                    out::line(format_args!(
                        "member {id} removed; its process ends, and its number is not given again"
                    ));
                });
            }
            Self::Update(Update { way, id, peer }) => {
                let members =
                    way.client()?.update_member(id, &url(&peer)?).await.map_err(left_open)?;
                answer(&way, &members, Some(id), || {
                    out::line(format_args!("member {id} is at {} now", bare(&peer)));
                });
            }
        }
        Ok(())
    }
}

/// A change that was not refused may have been made.
fn left_open(error: ClientError) -> anyhow::Error {
    let ClientError::Status { what, message, .. } = &error else { return error.into() };
    if message.contains("etcdserver: unhealthy cluster") {
        return anyhow!(
            "{error}; nothing was changed: a voter does not answer. `watchkeep member list` shows who there is: start it, \
             or remove it for good, then try again"
        );
    }
    // Without a leader, and as long as it only was asked who there is, nothing was tried.
    let untouched = what.starts_with("list members") || message.contains("etcdserver: no leader");
    match error.is_refusal() || untouched {
        true => error.into(),
        false => anyhow!("{error}; the change may have been made: look at `watchkeep member list`"),
    }
}

fn answer(way: &Way, members: &RegistryMembers, id: Option<u64>, text: impl FnOnce()) {
    match way.output {
        Output::Text => text(),
        Output::Json => {
            let member = |m: &RegistryMember| {
                json!({
                    "id": m.id, "name": m.name, "peer_urls": m.peer_urls, "client_urls": m.client_urls,
                    "is_learner": m.is_learner, "started": is_started(m),
                })
            };
            let mut answer = json!({
                "cluster_id": format!("{:016x}", members.cluster_id),
                "members": members.members.iter().map(member).collect::<Vec<_>>(),
            });
            if let Some(id) = id {
                answer["id"] = json!(id);
            }
            out::line(answer);
        }
    }
}

/// A peer URL, if `http://` was left out too.
fn url(peer: &str) -> anyhow::Result<String> {
    let address = bare(peer);
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
        bail!("{peer:?} is no peer address: write it as host:port, like 10.0.0.4:2380");
    }
    Ok(if peer.contains("://") { peer.to_owned() } else { format!("http://{peer}") })
}

fn bare(peer: &str) -> &str {
    peer.split_once("://").map_or(peer, |(_, address)| address).trim_end_matches('/')
}

/// A member publishes its client URL when it is up for the first time.
fn is_started(member: &RegistryMember) -> bool {
    !member.client_urls.is_empty()
}

fn table(members: &RegistryMembers) -> Vec<Vec<String>> {
    let head = ["ID", "NAME", "STATUS", "VOTE", "PEER", "CLIENT"].map(str::to_owned).to_vec();
    let row = |m: &RegistryMember| {
        vec![
            m.id.to_string(),
            m.name.clone(),
            if is_started(m) { "started" } else { "unstarted" }.to_owned(),
            if m.is_learner { "no" } else { "yes" }.to_owned(),
            m.peer_urls.iter().map(|url| bare(url)).collect::<Vec<_>>().join(","),
            m.client_urls.join(","),
        ]
    };
    std::iter::once(head).chain(members.members.iter().map(row)).collect()
}

/// What an operator does next.
fn told_of(id: u64, learner: bool, members: &RegistryMembers) {
    let vote = if learner {
        format!("a vote when you say `watchkeep member promote {id}`")
    } else {
        "its vote as soon as it has caught up".to_owned()
    };
    out::line(format_args!("member {id} added; it gets {vote}"));
    let peer =
        |m: &RegistryMember| m.peer_urls.first().map(|url| format!("{}={}", m.id, bare(url)));
    let cluster: Vec<_> = members.members.iter().filter_map(peer).collect();
    out::line(format_args!(
        "start it there with a new data directory and\n  --node-id {id} --initial-cluster-state existing --initial-cluster {}",
        cluster.join(",")
    ));
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn what_is_left_open_and_what_is_not() {
        let said = |what: &str, message: &str, code| {
            let (what, message) = (what.to_owned(), message.to_owned());
            let endpoint = "http://h:1".to_owned();
            left_open(ClientError::Status { what, endpoint, code, message }).to_string()
        };
        let open = "the change may have been made";
        let refused =
            said("add member http://h:2", "etcdserver: unhealthy cluster", Code::Unavailable);
        assert!(!refused.contains(open) && refused.contains("start it, or remove it"), "{refused}");
        assert!(!said("list members", "etcdserver: no leader", Code::Unavailable).contains(open));
        assert!(
            !said("remove member 9", "etcdserver: member not found", Code::NotFound).contains(open)
        );
        assert!(
            said("remove member 9", "etcdserver: request timed out", Code::Unavailable)
                .contains(open)
        );
    }

    #[test]
    fn peer_addresses() {
        for (given, expected) in [
            ("10.0.0.4:2380", Some("http://10.0.0.4:2380")),
            ("http://10.0.0.4:2380", Some("http://10.0.0.4:2380")),
            ("https://h:2380", Some("https://h:2380")),
            ("10.0.0.4", None),
            (":2380", None),
            ("h:0", None),
        ] {
            assert_eq!(url(given).ok().as_deref(), expected, "{given}");
        }
    }
}
