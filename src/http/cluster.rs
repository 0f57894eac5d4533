//! `GET /v1/cluster`: the registry as this node sees it, without asking anybody.

use std::{fmt, sync::Arc};

use axum::{Json, Router, extract::State, routing};
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// A member of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterMember {
    /// Its number.
    pub(crate) id: u64,
    /// Its name; empty before it was up.
    #[serde(default)]
    pub(crate) name: String,
    /// `host:port` of its peer listener.
    pub(crate) peer: String,
    /// Whether it has no vote (yet).
    #[serde(default)]
    pub(crate) is_learner: bool,
}

/// What this node knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterState {
    /// This node's number.
    pub(crate) node_id: u64,
    /// This node's name.
    pub(crate) name: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub(crate) role: String,
    /// The leader, if it knows one.
    pub(crate) leader: Option<u64>,
    /// The Raft term.
    pub(crate) term: u64,
    /// Everybody who belongs to it now.
    pub(crate) members: Vec<ClusterMember>,
}

/// How to look.
#[derive(Clone)]
pub(crate) struct ClusterView(Arc<dyn Fn() -> ClusterState + Send + Sync>);

impl ClusterView {
    /// A view that calls `look` each time.
    pub(crate) fn new(look: impl Fn() -> ClusterState + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// What is there now.
    pub(super) fn look(&self) -> ClusterState {
        (self.0)()
    }
}

impl fmt::Debug for ClusterView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterView")
    }
}

pub(super) fn router(view: Option<ClusterView>) -> Router {
    Router::new().route("/v1/cluster", routing::get(get)).with_state(view)
}

async fn get(State(view): State<Option<ClusterView>>) -> Result<Json<ClusterState>, Problem> {
    let view = view.ok_or_else(|| {
        Problem::not_found("role registry does not run on this node: ask one where it does")
    })?;
    Ok(Json(view.look()))
}
