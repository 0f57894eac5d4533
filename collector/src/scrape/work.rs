//! The task of one target: fetch on schedule, read, hand over.

use std::sync::Arc;

use chrono::Utc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;
use watchkeep_series::{Labels, METRIC_NAME, Sample};

use super::{
    Shared,
    config::Job,
    page::{Reader, Rules, STALE, Taken},
    state::LastScrape,
    target::Target,
};
use crate::keeper::Samples;

/// The series that tell of the scrape itself.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// A target that is fetched.
pub(super) struct Work {
    id: (usize, String),
    job: Arc<Job>,
    target: Target,
    shared: Arc<Shared>,
    reader: Reader,
    reports: [Labels; 5],
    /// Whether the last scrape was good; none before the first.
    up: Option<bool>,
}

impl Work {
    pub(super) fn new(
        id: (usize, String),
        job: Arc<Job>,
        target: Target,
        shared: Arc<Shared>,
    ) -> Self {
        let own = target.labels.iter().map(|(n, v)| (&**n, &**v));
        let reports = REPORTS.map(|name| Labels::new(own.clone().chain([(METRIC_NAME, name)])));
        Self { id, job, target, shared, reader: Reader::default(), reports, up: None }
    }

    /// Fetches until `stop`, and then gives itself back.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Self {
        let schedule = self.target.schedule();
        let epoch = self.shared.epoch;
        let mut due = schedule.first(epoch.elapsed());
        let endless = async {
            loop {
                sleep_until(epoch + due).await;
                self.scrape().await;
                let (next, missed) = schedule.next(due, epoch.elapsed());
                self.shared.metrics.scrapes_missed.inc_by(missed);
                due = next;
            }
        };
        let _: Option<()> = stop.run_until_cancelled(endless).await;
        self
    }

    /// The target is gone: all its series end here.
    pub(super) fn gone(mut self) {
        let now_ms = Utc::now().timestamp_millis();
        let mut samples = self.reader.stale(now_ms);
        if self.up.is_some() {
            let ended = self
                .reports
                .iter()
                .map(|labels| (labels.clone(), Sample { timestamp_ms: now_ms, value: STALE }));
            samples.extend(ended);
        }
        self.shared.sink.push(samples);
    }

    async fn scrape(&mut self) {
        let shared = self.shared.clone();
        // Never closed.
        let Ok(_permit) = shared.permits.acquire().await else { return };
        let (started, at_ms) = (Instant::now(), Utc::now().timestamp_millis());
        let fetched = self.job.fetcher.fetch(&self.target.url, self.target.timeout).await;
        let (mut taken, result) = match fetched {
            Ok(body) => {
                let rules = Rules {
                    labels: &self.target.labels,
                    relabel: &self.job.metric_relabel,
                    limits: self.job.limits(),
                    honor_labels: self.job.config.honor_labels,
                    honor_timestamps: self.job.config.honor_timestamps,
                };
                self.reader.read(&body, &rules, at_ms)
            }
            Err(reason) => (Taken::default(), Err(reason)),
        };
        if result.is_err() {
            taken.samples = self.reader.stale(at_ms);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.report(&mut taken, result.is_ok(), seconds, at_ms);
        shared.metrics.scraped(result.is_ok(), seconds);
        let error = result.as_ref().err().cloned();
        shared.state.scraped(&self.id, LastScrape { at_ms, seconds, error });
        self.tell(result);
        shared.sink.push(taken.samples);
    }

    fn report(&self, taken: &mut Taken, good: bool, seconds: f64, at_ms: i64) {
        let values = [
            f64::from(u8::from(good)),
            seconds,
            taken.scraped as f64,
            taken.kept as f64,
            taken.added as f64,
        ];
        let samples: Samples = self
            .reports
            .iter()
            .zip(values)
            .map(|(labels, value)| (labels.clone(), Sample { timestamp_ms: at_ms, value }))
            .collect();
        taken.samples.extend(samples);
    }

    /// Logs what has changed.
    fn tell(&mut self, result: Result<(), String>) {
        let good = result.is_ok();
        if self.up.replace(good) == Some(good) {
            return;
        }
        let (job, url) = (&self.target.labels.get("job"), &self.target.url);
        // The query may hold a secret.
        let url = url.split('?').next().unwrap_or_default();
        match result {
            Ok(()) => info!(job, url, "metrics are fetched"),
            Err(reason) => info!(job, url, reason, "metrics cannot be fetched"),
        }
    }
}
