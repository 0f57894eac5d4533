//! What the binary itself tells: HTTP requests, the catalog it keeps in memory, and who reads that.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use watchkeep_catalog::View;

/// Boundaries in seconds; one lies at the promise of 100 ms.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Requests on the HTTP listener.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) seconds: HistogramVec,
}

impl HttpMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new(
                "watchkeep_http_requests_total",
                "HTTP requests by route, method and status.",
            ),
            &["route", "method", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "watchkeep_http_request_seconds",
                "Duration of HTTP requests by route.",
            )
            .buckets(BUCKETS.to_vec()),
            &["route"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { requests, seconds })
    }
}

/// Who comes to the HTTP listener, where a web configuration says who may.
#[derive(Debug, Clone)]
pub(crate) struct WebMetrics {
    /// By reason.
    pub(crate) logins_refused: IntCounterVec,
    pub(crate) connections_refused: IntCounter,
    /// By what came of it.
    pub(crate) reloads: IntCounterVec,
    expiry: IntGaugeVec,
}

impl WebMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            logins_refused: IntCounterVec::new(
                Opts::new(
                    "watchkeep_http_logins_refused_total",
                    "HTTP requests that named no user (missing), or a wrong one or a wrong password (wrong), or came while too \
                     many passwords were compared (busy).",
                ),
                &["reason"],
            )?,
            connections_refused: IntCounter::new(
                "watchkeep_http_tls_connections_refused_total",
                "Connections to the HTTP listener whose TLS handshake came to nothing.",
            )?,
            reloads: IntCounterVec::new(
                Opts::new(
                    "watchkeep_http_web_config_reloads_total",
                    "Changes of the web configuration file and of its certificates, by whether they were taken or refused.",
                ),
                &["result"],
            )?,
            expiry: IntGaugeVec::new(
                Opts::new(
                    "watchkeep_http_tls_certificate_expiry_timestamp_seconds",
                    "When the certificate of the HTTP listener ends, in seconds since 1970; where it has one.",
                ),
                &["listener"],
            )?,
        };
        for reason in ["missing", "wrong", "busy"] {
            metrics.logins_refused.with_label_values(&[reason]);
        }
        for result in ["taken", "refused"] {
            metrics.reloads.with_label_values(&[result]);
        }
        registry.register(Box::new(metrics.logins_refused.clone()))?;
        registry.register(Box::new(metrics.connections_refused.clone()))?;
        registry.register(Box::new(metrics.reloads.clone()))?;
        registry.register(Box::new(metrics.expiry.clone()))?;
        Ok(metrics)
    }

    /// The certificate in use, if there is one, holds until then: Unix time in seconds.
    pub(crate) fn expires(&self, not_after_seconds: Option<i64>) {
        if let Some(seconds) = not_after_seconds {
            self.expiry.with_label_values(&["http"]).set(seconds);
        }
    }
}

/// Questions in PromQL.
#[derive(Clone)]
pub(crate) struct QueryMetrics {
    pub(crate) results: IntCounterVec,
    pub(crate) queued: Histogram,
    pub(crate) evaluated: Histogram,
}

impl QueryMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()))
        };
        let results = IntCounterVec::new(
            Opts::new(
                "watchkeep_query_results_total",
                "PromQL queries over HTTP and of rules, by result: success, or the type of the error.",
            ),
            &["result"],
        )?;
        let queued = histogram(
            "watchkeep_query_queue_seconds",
            "How long answered PromQL queries waited for their turn.",
        )?;
        let evaluated = histogram(
            "watchkeep_query_seconds",
            "How long the evaluation of answered PromQL queries took.",
        )?;
        registry.register(Box::new(results.clone()))?;
        registry.register(Box::new(queued.clone()))?;
        registry.register(Box::new(evaluated.clone()))?;
        Ok(Self { results, queued, evaluated })
    }
}

/// The catalog kept in memory, as it is when somebody looks.
struct CatalogMetrics {
    view: View,
    instances: IntGauge,
    revision: IntGauge,
    left_out: IntGauge,
}

impl Collector for CatalogMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [&self.instances, &self.revision, &self.left_out]
            .into_iter()
            .flat_map(|g| g.desc())
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.view.now();
        self.instances.set(i64::try_from(now.instances()).unwrap_or(i64::MAX));
        self.revision.set(now.revision());
        self.left_out.set(i64::try_from(self.view.left_out()).unwrap_or(i64::MAX));
        let gauges = [&self.instances, &self.revision, &self.left_out];
        gauges.into_iter().flat_map(Collector::collect).collect()
    }
}

/// Readers of the catalog.
#[derive(Debug, Clone)]
pub(crate) struct ReaderMetrics {
    /// Requests that wait for a change.
    pub(crate) waiting: IntGauge,
    /// Open streams of events.
    pub(crate) streams: IntGauge,
    /// Streams that were ended because nobody read them.
    pub(crate) cut: IntCounter,
}

impl ReaderMetrics {
    /// Registers them, and those of the catalog itself.
    ///
    /// # Errors
    /// When they are registered already.
    pub(crate) fn new(registry: &Registry, view: View) -> prometheus::Result<Self> {
        registry.register(Box::new(CatalogMetrics {
            view,
            instances: IntGauge::new(
                "watchkeep_catalog_instances",
                "Registered instances, as this node knows them.",
            )?,
            revision: IntGauge::new(
                "watchkeep_catalog_revision",
                "The registry's revision up to which this node knows the catalog.",
            )?,
            left_out: IntGauge::new(
                "watchkeep_catalog_records_left_out",
                "Records of the catalog that cannot be read, or are too many.",
            )?,
        }))?;
        let metrics = Self {
            waiting: IntGauge::new(
                "watchkeep_http_requests_waiting",
                "HTTP requests that wait for a change of the catalog.",
            )?,
            streams: IntGauge::new(
                "watchkeep_http_event_streams",
                "Open streams of server-sent events.",
            )?,
            cut: IntCounter::new(
                "watchkeep_http_event_streams_cut_total",
                "Streams of server-sent events that were ended because nobody read them.",
            )?,
        };
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.streams.clone()))?;
        registry.register(Box::new(metrics.cut.clone()))?;
        Ok(metrics)
    }
}

/// Boundaries in seconds of answers from memory; one lies at the promise of 100 ms.
const DNS_BUCKETS: [f64; 8] = [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.01, 0.1, 1.0];

/// The name server.
#[derive(Debug, Clone)]
pub(crate) struct DnsMetrics {
    /// By transport, type and code.
    pub(crate) queries: IntCounterVec,
    /// From the question to the answer's bytes.
    pub(crate) seconds: Histogram,
    /// Answers that said so.
    pub(crate) truncated: IntCounter,
    /// What got no answer.
    pub(crate) dropped: IntCounter,
}

impl DnsMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            queries: IntCounterVec::new(
                Opts::new(
                    "watchkeep_dns_queries_total",
                    "DNS queries answered, by transport, type and response code.",
                ),
                &["transport", "type", "rcode"],
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "watchkeep_dns_answer_seconds",
                    "From a DNS query to its answer, without the network.",
                )
                .buckets(DNS_BUCKETS.to_vec()),
            )?,
            truncated: IntCounter::new(
                "watchkeep_dns_answers_truncated_total",
                "DNS answers that were too long and said so.",
            )?,
            dropped: IntCounter::new(
                "watchkeep_dns_messages_dropped_total",
                "DNS messages and connections without an answer: no queries, or too many.",
            )?,
        };
        registry.register(Box::new(metrics.queries.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.truncated.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        Ok(metrics)
    }
}
