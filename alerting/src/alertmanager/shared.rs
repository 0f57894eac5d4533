//! What the tasks and the API share: the board behind a lock, the channels of the receivers, and where to knock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::{Notify, mpsc, watch};
use watchkeep_catalog::{Alert, Client, Time};

use super::{
    AlertmanagerConfig, Loader, alone::Found, board::Board, intake::Deliverance, metrics::Metrics,
    notify::Channels, plan::Plan,
};
use crate::{clock, context::Context};

/// Alerts of one POST each that wait to be written; beyond it the senders wait.
pub(super) const INTAKE_MAX: usize = 1_024;

/// What a configuration is made into.
pub(crate) struct Setup {
    pub(crate) plan: Arc<Plan>,
    pub(crate) channels: Arc<Channels>,
    /// The file without its secrets.
    pub(crate) original: String,
}

pub(crate) struct Shared {
    pub(crate) context: Arc<Context>,
    pub(crate) client: Client,
    /// This node's name.
    pub(crate) id: String,
    pub(crate) external_url: String,
    pub(crate) metrics: Metrics,
    pub(crate) started_at: Time,
    board: RwLock<Board>,
    setup: RwLock<Arc<Setup>>,
    /// Something has changed that may be told.
    pub(crate) wake: Notify,
    pub(crate) intake: mpsc::Sender<Deliverance>,
    /// Whether the registry cannot be reached.
    pub(crate) lost: watch::Sender<bool>,
    /// Alerts that were taken while the registry was lost, and are to be written when it is back.
    pub(crate) unsaved: RwLock<HashMap<u64, Arc<Alert>>>,
    /// What rules found without the registry.
    found: Mutex<Found>,
    loader: Loader,
    /// Held while the configuration is read anew: of two the later one stays, whole.
    reloading: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(
        context: Arc<Context>,
        (config, loader): (AlertmanagerConfig, Loader),
        metrics: Metrics,
        intake: mpsc::Sender<Deliverance>,
    ) -> Result<Self, String> {
        let setup = Setup::new(config, &context.url)?;
        Ok(Self {
            board: RwLock::new(Board::new(Arc::clone(&setup.plan))?),
            setup: RwLock::new(Arc::new(setup)),
            client: context.client.clone(),
            id: context.id.clone(),
            external_url: context.url.clone(),
            context,
            metrics,
            started_at: clock::now(),
            wake: Notify::new(),
            intake,
            lost: watch::Sender::new(false),
            unsaved: RwLock::default(),
            found: Mutex::default(),
            loader,
            reloading: Mutex::default(),
        })
    }

    /// The board, to look at. A panic elsewhere does not keep anybody from it.
    pub(crate) fn board(&self) -> RwLockReadGuard<'_, Board> {
        self.board.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The board, to change.
    pub(crate) fn board_mut(&self) -> RwLockWriteGuard<'_, Board> {
        self.board.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Answers whether that is news.
    pub(crate) fn set_lost(&self, lost: bool) -> bool {
        self.lost.send_if_modified(|known| std::mem::replace(known, lost) != lost)
    }

    pub(crate) fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads the configuration again; a wrong one changes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let _one = self.reloading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let loaded = (self.loader)().and_then(|config| Setup::new(config, &self.external_url));
        self.metrics.config_reloaded.set(i64::from(loaded.is_ok()));
        let setup = Arc::new(loaded?);
        let now = clock::now();
        self.board_mut().replan(Arc::clone(&setup.plan))?;
        *self.setup.write().unwrap_or_else(std::sync::PoisonError::into_inner) = setup;
        self.metrics.config_reloaded_at.set(now.timestamp());
        self.wake.notify_one();
        Ok(())
    }
}

impl Setup {
    fn new(config: AlertmanagerConfig, external_url: &str) -> Result<Self, String> {
        let original = serde_saphyr::to_string(&config).map_err(|e| e.to_string())?;
        let plan = Arc::new(Plan::new(config)?);
        let channels = Arc::new(Channels::new(&plan, external_url)?);
        Ok(Self { plan, channels, original })
    }
}
