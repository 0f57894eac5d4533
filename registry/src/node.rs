//! A member that runs: opens what is on disk, joins its cluster, serves clients and members.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use prometheus::Registry;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tonic_health::server::HealthReporter;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tracing::{info, warn};
use watchkeep_api::peer::peer_server::PeerServer;

use crate::{
    bootstrap,
    client::Front,
    cluster::{Cluster, Listed, Parts},
    compaction,
    config::RegistryConfig,
    corruption, duties, election,
    error::{self, StartError},
    etcd, health,
    identity::{Identity, cluster_words},
    lessor::Lessor,
    metrics::Metrics,
    mvcc,
    raft::{
        Network, PeerService, Peers, StateMachine, raft_config, run_snapshots, timing, types::Raft,
    },
    renewal,
    serve::{self, Meters, Port},
    space,
    tls::{self, Tls},
    wal::LogStore,
    watch::{self, Hub},
};

mod open;

/// How long the listeners may take to end their requests.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Raft's numbers at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This member's id.
    pub id: u64,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The leader this member knows.
    pub leader: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Committed log index.
    pub committed: u64,
    /// Applied log index.
    pub applied: u64,
    /// Last log index.
    pub last_log: u64,
    /// Log index up to which the log is purged.
    pub purged: u64,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: &'static str,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty before it was up.
    pub name: String,
    /// `host:port` of its peer listener.
    pub peer: String,
    /// Whether it has no vote.
    pub is_learner: bool,
}

/// Reads Raft's numbers.
pub(crate) fn raft_numbers(raft: &Raft) -> Status {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let role = match metrics.state {
        ServerState::Leader => "leader",
        ServerState::Candidate => "candidate",
        ServerState::Learner => "learner",
        _ => "follower",
    };
    Status {
        id: metrics.id,
        cluster_id: 0,
        leader: metrics.current_leader,
        term: metrics.current_term,
        committed: metrics.local_committed.map_or(0, |id| id.index),
        applied: metrics.last_applied.map_or(0, |id| id.index),
        last_log: metrics.last_log_index.unwrap_or_default(),
        purged: metrics.purged.map_or(0, |id| id.index),
        is_learner: metrics.state == ServerState::Learner,
        role,
    }
}

/// A running member.
pub struct Node {
    cluster: Cluster,
    log: LogStore,
    clients: Front,
    client_addr: SocketAddr,
    stop: CancellationToken,
    listeners: JoinSet<()>,
    duties: JoinSet<()>,
}

impl Node {
    /// Starts a member. Both listeners are bound before anything on disk is touched.
    ///
    /// # Errors
    /// When a port is in use, the data directory belongs to another cluster or member, something in it is
    /// damaged, or another member says that this one has been up before with data that is not here now.
    pub async fn start(config: RegistryConfig, registry: &Registry) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let tls = Tls::open(&config).await?;
        let client_listener = bind("client", config.client_listen).await?;
        let peer_listener = bind("peer", config.peer_listen).await?;
        let client_addr = client_listener
            .local_addr()
            .map_err(StartError::bind("client", config.client_listen))?;

        let stranger = Peers::new(0, tls.to_peers.clone());
        let found = Identity::load(&config.data_dir, config.node_id)?;
        let is_new = found.is_none();
        let identity = match found {
            Some(identity) => identity,
            None => bootstrap::first_start(&config, &stranger).await?,
        };
        let mut random = StdRng::from_os_rng();
        let metrics = Arc::new(Metrics::new(registry).map_err(StartError::Metrics)?);
        let (store, log) = open::state_and_log(&config, registry, random.random(), is_new).await?;
        store.measure_commits(metrics.etcd.commit_seconds.clone());

        let view = store.view();
        let interval = Duration::from_millis(config.lease_checkpoint_interval_ms);
        let lessor = Lessor::new(mvcc::leases(&view).map_err(StartError::state)?, interval);
        let lessor = Arc::new(lessor);
        let hub = Arc::new(Hub::new(view.applied().revision));
        let auth = Arc::new(open::auth(&config, &view, registry)?);
        drop(view);
        let machine = StateMachine::new(
            store.clone(),
            Arc::clone(&hub),
            Arc::clone(&lessor),
            Arc::clone(&auth),
            Arc::clone(&metrics),
        );
        let applied_index = machine.applied_index();
        let peers = stranger.of_cluster(identity.cluster_id());
        let network = Network { peers: peers.clone(), metrics: Arc::clone(&metrics) };
        if is_new {
            identity.write(&config.data_dir)?;
        }
        let raft_config = raft_config(&config).map_err(StartError::raft)?;
        let raft = Raft::new(config.node_id, raft_config, network, log.clone(), machine)
            .await
            .map_err(StartError::raft)?;
        let (renewer, renewals) = renewal::queue();
        let cluster = Cluster::new(Parts {
            id: config.node_id,
            raft: raft.clone(),
            store,
            hub,
            lessor,
            auth,
            peers,
            metrics: Arc::clone(&metrics),
            applied_index,
            renewer,
            requests_max: config.requests_max,
            silence: Duration::from_millis(config.election_timeout_ms * 2),
            timing: timing(&config),
            process: random.random(),
            watch_progress_interval: Duration::from_millis(config.watch_progress_interval_ms),
            returns: !is_new,
        });

        let stop = CancellationToken::new();
        let (mut listeners, mut duties) = (JoinSet::new(), JoinSet::new());
        let peer_routes = Routes::new(
            PeerServer::new(PeerService(cluster.clone()))
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(usize::MAX),
        );
        let peer_door = tls.peers.map(|door| Arc::new(door.knowing(hosts(&config, &cluster))));
        let client_door = tls.clients.map(Arc::new);
        let doors = client_door.iter().chain(&peer_door).cloned().collect();
        duties.spawn(tls::keep_fresh(doors, Arc::clone(&metrics)));
        listeners.spawn(serve::serve(
            Port { listener: peer_listener, door: peer_door, meters: None, patient: false },
            peer_routes.into_axum_router(),
            Arc::clone(&metrics),
            stop.clone(),
        ));
        if !identity.has_joined() {
            bootstrap::initialize(&config, &raft).await?;
        }
        let reporter = HealthReporter::new();
        let services = etcd::Services::new(&cluster, random.random(), &reporter);
        duties.spawn(health::report(cluster.clone(), reporter));
        let meters = Meters {
            received: metrics.etcd.client_received.clone(),
            sent: metrics.etcd.client_sent.clone(),
        };
        let clients = Front::new(&cluster, services, registry.clone(), Arc::clone(&metrics));
        listeners.spawn(serve::serve(
            Port {
                listener: client_listener,
                door: client_door,
                meters: Some(meters),
                patient: true,
            },
            clients.clone(),
            metrics,
            stop.clone(),
        ));
        duties.spawn(watch::dispatch(Arc::clone(cluster.hub())));
        duties.spawn(election::follow::members(cluster.clone()));
        duties.spawn(election::follow::elections(cluster.clone(), random.random()));
        duties.spawn(duties::watch_leadership(cluster.clone()));
        duties.spawn(duties::tick(cluster.clone()));
        duties.spawn(duties::expire_leases(cluster.clone()));
        duties.spawn(duties::note_leases(cluster.clone()));
        duties.spawn(renewal::run(cluster.clone(), renewals));
        duties.spawn(duties::refresh_metrics(cluster.clone()));
        duties.spawn(duties::refresh_etcd_metrics(cluster.clone()));
        duties.spawn(duties::publish(cluster.clone(), config.name.clone(), config.client_url()));
        duties.spawn(corruption::watch(
            cluster.clone(),
            Duration::from_millis(config.corrupt_check_interval_ms),
        ));
        duties.spawn(compaction::run(
            cluster.clone(),
            compaction::Settings {
                retention_ms: config.auto_compaction_retention_ms,
                revisions_max: config.auto_compaction_revisions,
            },
            config.data_dir.clone(),
        ));
        duties.spawn(space::watch(
            cluster.clone(),
            config.data_dir.clone(),
            config.nospace_free_bytes,
        ));
        duties.spawn(duties::members::seat_arrivals(cluster.clone()));
        duties.spawn(duties::members::follow_addresses(cluster.clone()));
        let hints = config.initial_cluster.iter().filter(|(id, _)| **id != config.node_id);
        let hints = hints.map(|(_, address)| address.clone()).collect();
        duties.spawn(duties::members::notice_removal(cluster.clone(), hints));
        duties.spawn(log.clone().keep_committed());
        duties.spawn(run_snapshots(raft, config.log_entries_kept));
        duties.spawn(bootstrap::notice_move(config.clone(), cluster.clone()));
        info!(id = config.node_id, client = %client_addr, peer = %config.peer_listen, "registry member is up");
        Ok(Self { cluster, log, clients, client_addr, stop, listeners, duties })
    }

    #[cfg(test)]
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where clients connect.
    #[must_use]
    pub fn client_addr(&self) -> SocketAddr {
        self.client_addr
    }

    /// What the client listener answers, for callers in this process: without a connection, on the threads of the caller, who
    /// is whoever its token says.
    #[must_use]
    pub fn client_service(&self) -> BoxCloneSyncService<Request<Body>, Response<Body>, Infallible> {
        let clients = self.clients.clone();
        let answers =
            ServiceExt::<Request<Body>>::map_response(clients, |answer| answer.map(Body::new));
        BoxCloneSyncService::new(answers)
    }

    /// Raft's numbers at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        Status { cluster_id: self.cluster.cluster_id(), ..raft_numbers(self.cluster.raft()) }
    }

    /// The members as applied here; none when they cannot be read.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let listed = self.cluster.listed().unwrap_or_default().into_iter();
        let member = |listed: Listed| Member {
            id: listed.id,
            name: listed.info.map(|info| info.name).unwrap_or_default(),
            peer: listed.peer.address,
            is_learner: listed.is_learner,
        };
        listed.map(member).collect()
    }

    /// Resolves, with the reason and the remedy, when this member cannot go on and the process must end. Pending as
    /// long as all is well.
    pub async fn failed(&self) -> String {
        let raft_ended = async {
            // Told of changes of role, and closed at the end: not woken by each entry.
            let mut metrics = self.cluster.raft().server_metrics();
            loop {
                if let Some(reason) = self.cluster.ended() {
                    return format!("raft has ended: {reason}");
                }
                if metrics.changed().await.is_err() {
                    let reason = self.cluster.ended();
                    return format!("raft has ended: {}", reason.unwrap_or_default());
                }
            }
        };
        tokio::select! {
            reason = raft_ended => error::with_remedy(&reason),
            reason = self.cluster.store().failed() => {
                error::with_remedy(&format!("the state cannot be written: {reason}"))
            }
            () = self.cluster.removed() => StartError::Removed {
                id: self.cluster.id(),
                cluster: cluster_words(self.cluster.cluster_id()),
            }
            .to_string(),
        }
    }

    /// Ends the member in order.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.duties.shutdown().await;
        if let Err(error) = self.cluster.raft().shutdown().await {
            warn!(%error, "raft did not end in order");
        }
        if let Err(error) = self.log.close().await {
            warn!(%error, "the log was not closed in order");
        }
        if let Err(error) = self.cluster.store().flush().await {
            warn!(%error, "state was not written out; the log has it");
        }
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            self.listeners.abort_all();
        }
    }
}

/// The hosts of the members: those it began with, and those there are now.
fn hosts(config: &RegistryConfig, cluster: &Cluster) -> impl Fn() -> Vec<String> + use<> {
    let (first, cluster) = (config.initial_cluster.clone(), cluster.clone());
    move || {
        let now = cluster.membership().into_iter().map(|(_, peer, _)| peer.address);
        let mut hosts: Vec<String> = first.values().cloned().chain(now).collect();
        for address in &mut hosts {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            *address = host.trim_matches(['[', ']']).to_owned();
        }
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(StartError::bind(what, address))
}
