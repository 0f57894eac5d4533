//! The rules of one node: loaded and judged on every node, evaluated by the leader. Shell: it wires files, source and
//! registry to [`super::evaluate`] and [`super::state`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    evaluate::{Environment, GroupState},
    load::{self, Loaded, Origin},
    metrics::RuleMetrics,
    model::{Expressions, Group, Labels},
    registry,
    source::Waiting,
    state,
};
use crate::{alertmanager::Alertmanager, context::Context, source::Source, template::Site};

mod alone;
mod group;
mod incident;
mod term;

/// How often rule files are looked at for changes.
const FILES_EVERY: Duration = Duration::from_secs(15);
/// What the registry keeps is read for those who ask at most so often.
const SEEN_FOR: Duration = Duration::from_secs(2);
/// Groups that are evaluated at once; each takes a thread while it is.
const GROUPS_AT_ONCE_MAX: usize = 8;

/// What the rules of a node are.
#[derive(Debug, Clone, Default)]
pub struct RuleSettings {
    /// Where they come from.
    pub origin: Origin,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$externalURL`; empty: the node's own.
    pub external_url: String,
    /// For groups without `query_offset`.
    pub query_offset: Duration,
    /// Whether firing alerts become incidents; not where a router sends them on.
    pub opens_incidents: bool,
}

/// Reads expressions: from any thread.
pub type SharedExpressions = Arc<dyn Expressions + Send + Sync>;

/// A group and what is known of it.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// The group.
    pub group: Arc<Group>,
    /// Its state; without health where another node evaluates.
    pub state: GroupState,
}

/// What the registry keeps of active alerts, by group's id.
type Kept = BTreeMap<String, state::Written>;

/// The rules of this node. Cheap to clone.
#[derive(Clone)]
pub struct Rules {
    shared: Arc<Shared>,
}

struct Shared {
    context: Arc<Context>,
    source: Arc<dyn Source>,
    expressions: SharedExpressions,
    settings: RuleSettings,
    metrics: RuleMetrics,
    loaded: watch::Sender<Arc<Loaded>>,
    /// The texts that were judged last, right or wrong.
    judged: Mutex<BTreeMap<String, String>>,
    /// What this node evaluates, by group's id; empty while it does not lead.
    states: Mutex<BTreeMap<String, GroupState>>,
    /// What the registry had, and when it was read; for a node that does not evaluate.
    seen: tokio::sync::Mutex<Option<(Instant, Arc<Kept>)>>,
    at_once: Arc<tokio::sync::Semaphore>,
}

impl Rules {
    /// Loads the rules.
    ///
    /// # Errors
    /// When they are wrong: all that is, one a line.
    pub(crate) fn new(
        context: Arc<Context>,
        source: Arc<dyn Source>,
        expressions: SharedExpressions,
        mut settings: RuleSettings,
        registry: &prometheus::Registry,
    ) -> Result<Self, crate::AlertingError> {
        if settings.external_url.is_empty() {
            settings.external_url.clone_from(&context.url);
        }
        let loaded = load::load(&settings.origin, &*expressions);
        let loaded = loaded.map_err(crate::AlertingError::Rules)?;
        let metrics = RuleMetrics::new(registry)?;
        Ok(Self {
            shared: Arc::new(Shared {
                judged: Mutex::new(loaded.texts.clone()),
                context,
                source,
                expressions,
                settings,
                metrics,
                loaded: watch::Sender::new(Arc::new(loaded)),
                states: Mutex::default(),
                seen: tokio::sync::Mutex::default(),
                at_once: Arc::new(tokio::sync::Semaphore::new(GROUPS_AT_ONCE_MAX)),
            }),
        })
    }

    /// Reads the rule files again; the rules from before stay when they are wrong.
    ///
    /// # Errors
    /// All that is wrong, one a line.
    pub async fn reload(&self) -> Result<(), String> {
        self.take_up(true).await
    }

    /// Takes up the files' texts if they changed, or anyway.
    async fn take_up(&self, anyway: bool) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let texts = load::read(&shared.settings.origin);
            let judged = lock(&shared.judged).clone();
            if !anyway && texts.as_ref().is_ok_and(|texts| *texts == judged) {
                return None;
            }
            if let Ok(texts) = texts {
                *lock(&shared.judged) = texts;
            }
            Some(load::load(&shared.settings.origin, &*shared.expressions))
        };
        let loaded = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
        let metric = &self.shared.metrics.reload_successful;
        match loaded {
            None => Ok(()),
            Some(Ok(loaded)) => {
                metric.set(1);
                let rules: usize = loaded.groups.iter().map(|group| group.rules.len()).sum();
                info!(groups = loaded.groups.len(), rules, "rules taken up");
                self.shared.loaded.send_replace(Arc::new(loaded));
                Ok(())
            }
            Some(Err(problems)) => {
                metric.set(0);
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                let text = lines.join("\n");
                warn!(problems = %text, "rule files are wrong; the rules from before stay in force");
                Err(text)
            }
        }
    }

    /// Every group with its state. On a node that does not lead, alerts are as the registry had them two seconds ago.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn groups(&self) -> Result<Vec<GroupView>, String> {
        let loaded = Arc::clone(&self.shared.loaded.borrow());
        let own = lock(&self.shared.states).clone();
        let kept = match own.is_empty() {
            true => self.seen().await?,
            false => Arc::default(),
        };
        let none = state::Written::new();
        let view = |group: &Group| {
            let id = super::group_id(group);
            let known = own.get(&id).filter(|state| state.rules.len() == group.rules.len());
            let state = known
                .cloned()
                .unwrap_or_else(|| state::restore(group, kept.get(&id).unwrap_or(&none)));
            GroupView { group: Arc::new(group.clone()), state }
        };
        Ok(loaded.groups.iter().map(view).collect())
    }

    /// What the registry keeps of active alerts. Whoever asks while it is read waits for the same answer.
    async fn seen(&self) -> Result<Arc<Kept>, String> {
        let mut seen = self.shared.seen.lock().await;
        if let Some((at, kept)) = &*seen
            && at.elapsed() < SEEN_FOR
        {
            return Ok(Arc::clone(kept));
        }
        let read = registry::read(&self.shared.context.client).await;
        let kept = Arc::new(read.map_err(|e| e.to_string())?);
        *seen = Some((Instant::now(), Arc::clone(&kept)));
        Ok(kept)
    }

    /// Follows the files, and evaluates while this node leads, or while it has lost the registry (then `alertmanager` tells what is
    /// found, or people are called), until `token` is cancelled.
    pub(crate) async fn run(
        &self,
        term: watch::Receiver<Option<i64>>,
        alertmanager: Option<&Alertmanager>,
        token: &CancellationToken,
    ) {
        let files = async {
            let mut every = tokio::time::interval(FILES_EVERY);
            every.tick().await;
            loop {
                every.tick().await;
                // What is wrong with them is in the log and in the metric.
                drop(self.take_up(false).await);
            }
        };
        tokio::select! {
            () = token.cancelled() => {}
            () = files => {}
            () = term::lead(&self.shared, term, alertmanager) => {}
        }
    }
}

impl Shared {
    fn environment(&self) -> (Environment, Waiting) {
        let handle = tokio::runtime::Handle::current();
        let waiting = Waiting { source: Arc::clone(&self.source), handle };
        let environment = Environment {
            ask: Arc::new(waiting.clone()),
            external_labels: self.settings.external_labels.clone(),
            site: Site { external_url: self.settings.external_url.clone() },
            query_offset: self.settings.query_offset,
        };
        (environment, waiting)
    }
}

/// A lock that no panic keeps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::NoSamples;

    struct Any;

    impl Expressions for Any {
        fn check(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    /// The registry of this node never answers.
    #[tokio::test]
    async fn who_asks_again_shares_what_was_read() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (metrics, config) = (prometheus::Registry::new(), crate::AlertingConfig::default());
        let client = watchkeep_catalog::Client::new(&["http://127.0.0.1:1".to_owned()]).unwrap();
        let source: Arc<dyn Source> = Arc::new(NoSamples);
        let (id, url) = ("n1".to_owned(), "http://n1.example.org".to_owned());
        let context =
            Context::new(&config, id, url, client, Arc::clone(&source), 0.9999, &metrics).unwrap();
        let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: x}]}]";
        let shipped = vec![("r.yml".to_owned(), text.to_owned())];
        let origin = Origin { shipped, ..Origin::default() };
        let settings = RuleSettings { origin, ..RuleSettings::default() };
        let rules =
            Rules::new(Arc::new(context), source, Arc::new(Any), settings, &metrics).unwrap();
        *rules.shared.seen.lock().await = Some((Instant::now(), Arc::default()));
        for _ in 0..3 {
            assert_eq!(rules.groups().await.unwrap().len(), 1);
        }
    }
}
