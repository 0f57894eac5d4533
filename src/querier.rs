//! PromQL over the series store: on threads of their own, so many at a time, each within its time. Whoever goes away while
//! waiting stops the work. Knows nothing of HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use watchkeep_series::{
    SeriesError, SeriesStore,
    promql::{Answer, Engine, EngineOptions, EvalError, Expr},
};

use crate::{config::QueryConfig, metrics::QueryMetrics};

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum QueryError {
    /// The question is wrong.
    #[error("{0}")]
    Bad(String),
    /// It cannot be answered from these samples, or would cost too much.
    #[error("{0}")]
    Execution(String),
    /// Its time is over.
    #[error("query timed out after {} ms: make it cheaper, or raise query.timeout_ms", .0.as_millis())]
    Timeout(Duration),
    /// Nobody waits for the answer.
    #[error("query was canceled")]
    Canceled,
    /// Too many questions wait.
    #[error("{0} queries wait already (query.queue_max): ask again later")]
    Busy(usize),
    /// Something is broken.
    #[error("{0}")]
    Internal(String),
}

impl QueryError {
    fn of(error: EvalError, limit: Duration, begun: Instant) -> Self {
        match error {
            EvalError::Stopped if begun.elapsed() >= limit => Self::Timeout(limit),
            EvalError::Stopped => Self::Canceled,
            EvalError::StepsMax { .. } | EvalError::BadRange(_) | EvalError::Experimental(_) => {
                Self::Bad(error.to_string())
            }
            EvalError::Series(error) => Self::Internal(error.to_string()),
            other => Self::Execution(other.to_string()),
        }
    }

    /// For the metric.
    fn result(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad_data",
            Self::Execution(_) => "execution",
            Self::Timeout(_) => "timeout",
            Self::Canceled => "canceled",
            Self::Busy(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }
}

/// For readers of series: stops the store when `stop` says so.
///
/// # Errors
/// [`SeriesError::Stopped`], which becomes [`EvalError::Stopped`].
pub(crate) fn go_on(stop: &dyn Fn() -> bool) -> Result<(), SeriesError> {
    if stop() { Err(SeriesError::Stopped) } else { Ok(()) }
}

/// When an expression is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// At one time.
    At(i64),
    /// At each step.
    Range {
        /// First.
        from_ms: i64,
        /// Not after this.
        to_ms: i64,
        /// Distance.
        step_ms: i64,
    },
}

/// What one question may ask for itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    /// Less than `query.timeout_ms`.
    pub(crate) timeout: Option<Duration>,
    /// Instead of `query.lookback_ms`.
    pub(crate) lookback_ms: Option<i64>,
}

/// How long what took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Until it was its turn.
    pub(crate) queued: Duration,
    /// The evaluation.
    pub(crate) evaluated: Duration,
}

/// Asks the store. Cheap to clone; clones share their turns.
#[derive(Clone)]
pub(crate) struct Querier {
    store: Arc<SeriesStore>,
    config: QueryConfig,
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    metrics: QueryMetrics,
}

impl std::fmt::Debug for Querier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Querier").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Querier {
    pub(crate) fn new(store: Arc<SeriesStore>, config: QueryConfig, metrics: QueryMetrics) -> Self {
        let turns = Arc::new(Semaphore::new(config.concurrency_max));
        Self { store, config, turns, waiting: Arc::default(), metrics }
    }

    /// The same store, with turns of its own.
    pub(crate) fn apart(&self) -> Self {
        Self::new(self.store.clone(), self.config.clone(), self.metrics.clone())
    }

    pub(crate) fn config(&self) -> &QueryConfig {
        &self.config
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub(crate) async fn evaluate(
        &self,
        expr: Arc<Expr>,
        when: When,
        wish: Wish,
    ) -> Result<(Answer, Took), QueryError> {
        let engine = Engine::new(EngineOptions {
            lookback_ms: wish.lookback_ms.unwrap_or(self.config.lookback_ms),
            samples_max: self.config.samples_max,
            experimental: self.config.experimental,
            ..EngineOptions::default()
        });
        self.run(wish.timeout, move |store, stop| match when {
            When::At(at_ms) => engine.instant(store, &expr, at_ms, stop),
            When::Range { from_ms, to_ms, step_ms } => {
                engine.range(store, &expr, from_ms, to_ms, step_ms, stop)
            }
        })
        .await
    }

    /// Does something with the store when it is its turn; `work` has to ask its second argument now and then whether to stop,
    /// and says [`EvalError::Stopped`] then.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        timeout: Option<Duration>,
        work: impl FnOnce(&SeriesStore, &dyn Fn() -> bool) -> Result<T, EvalError> + Send + 'static,
    ) -> Result<(T, Took), QueryError> {
        // Whoever goes away drops this future, and hears of no result.
        let mut count = Count { metrics: &self.metrics, said: "canceled" };
        let result = self.turn(timeout, work).await;
        count.said = result.as_ref().map_or_else(QueryError::result, |_| "success");
        drop(count);
        if let Ok((_, took)) = &result {
            self.metrics.queued.observe(took.queued.as_secs_f64());
            self.metrics.evaluated.observe(took.evaluated.as_secs_f64());
        }
        result
    }

    async fn turn<T: Send + 'static>(
        &self,
        timeout: Option<Duration>,
        work: impl FnOnce(&SeriesStore, &dyn Fn() -> bool) -> Result<T, EvalError> + Send + 'static,
    ) -> Result<(T, Took), QueryError> {
        let most = Duration::from_millis(self.config.timeout_ms);
        let limit = timeout.unwrap_or(most).min(most);
        let begun = Instant::now();
        let turn = self.wait(limit).await?;
        let queued = begun.elapsed();
        let store = self.store.clone();
        // When this future is dropped, so is the guard, and the thread stops.
        let gone = CancellationToken::new();
        let _guard = gone.clone().drop_guard();
        let thread = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let started = Instant::now();
            let stop = || gone.is_cancelled() || begun.elapsed() >= limit;
            let done = work(&store, &stop).map_err(|error| QueryError::of(error, limit, begun))?;
            Ok((done, Took { queued, evaluated: started.elapsed() }))
        });
        match thread.await {
            Ok(done) => done,
            Err(error) => Err(QueryError::Internal(format!("the query failed: {error}"))),
        }
    }

    async fn wait(&self, limit: Duration) -> Result<tokio::sync::OwnedSemaphorePermit, QueryError> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let place = Place(self.waiting.clone());
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.config.queue_max {
            return Err(QueryError::Busy(self.config.queue_max));
        }
        let turn = tokio::time::timeout(limit, self.turns.clone().acquire_owned()).await;
        drop(place);
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(closed)) => Err(QueryError::Internal(closed.to_string())),
            Err(_) => Err(QueryError::Timeout(limit)),
        }
    }
}

/// Counts a question when it is dropped, however it ended.
struct Count<'a> {
    metrics: &'a QueryMetrics,
    said: &'static str,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.metrics.results.with_label_values(&[self.said]).inc();
    }
}

/// A place in the queue; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_series::Options;

    use super::*;

    fn querier(dir: &std::path::Path, config: QueryConfig) -> Querier {
        let store = Arc::new(SeriesStore::open(dir, Options::default()).expect("a store"));
        let metrics = QueryMetrics::new(&prometheus::Registry::new()).expect("metrics");
        Querier::new(store, config, metrics)
    }

    fn endless(_: &SeriesStore, stop: &dyn Fn() -> bool) -> Result<(), EvalError> {
        while !stop() {
            std::thread::yield_now();
        }
        Err(EvalError::Stopped)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn limits_hold() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = QueryConfig { concurrency_max: 1, queue_max: 0, ..QueryConfig::default() };
        let querier = querier(dir.path(), config);
        let short = Some(Duration::from_millis(20));
        let error = querier.run(short, endless).await.expect_err("endless");
        assert!(matches!(error, QueryError::Timeout(limit) if Some(limit) == short));

        // One runs, and none may wait.
        let running = tokio::spawn({
            let querier = querier.clone();
            async move { querier.run(None, endless).await }
        });
        while querier.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let error = querier.run(None, |_, _| Ok(())).await.expect_err("no turn");
        assert!(matches!(error, QueryError::Busy(0)), "{error}");
        assert!(querier.apart().run(None, |_, _| Ok(())).await.is_ok());
        // Whoever goes away gives the turn back.
        running.abort();
        while querier.turns.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(querier.run(None, |_, _| Ok(())).await.is_ok());
        assert_eq!(querier.waiting.load(Ordering::Relaxed), 0);
        let results = &querier.metrics.results;
        let counted = |result| results.with_label_values(&[result]).get();
        let all = ["success", "timeout", "unavailable", "canceled"].map(counted);
        assert_eq!(all, [2, 1, 1, 1]);
    }
}
