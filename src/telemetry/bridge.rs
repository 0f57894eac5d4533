//! From the Prometheus data model to OTLP's: the families of `/metrics` as one request. Pure.
//!
//! Names stay as they are (`watchkeep_http_request_seconds`), so that a query means the same whichever way the
//! samples came; for the same reason no unit is given, which some receivers would put into the name once more.
//!
//! ```text
//! bucket le="0.1" 3, le="1" 5, le="+Inf" 6, sum 4.2, count 6
//!   ─▶ explicit_bounds [0.1, 1], bucket_counts [3, 2, 1], sum 4.2, count 6
//! ```

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prometheus::proto::{self, MetricFamily, MetricType};

/// From when the sums count, and when they were read; in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// The request that carries these families.
pub(super) fn request(
    families: &[MetricFamily],
    resource: &[(&str, String)],
    scope: &str,
    span: Span,
) -> ExportMetricsServiceRequest {
    let attributes = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    let metrics = families.iter().filter_map(|family| metric(family, span)).collect();
    let metrics = ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![metrics],
            ..ResourceMetrics::default()
        }],
    }
}

/// None: a kind of which we have none.
fn metric(family: &MetricFamily, span: Span) -> Option<Metric> {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let numbers = |value: fn(&proto::Metric) -> f64| {
        let point = |metric| number(metric, value(metric), span);
        family.get_metric().iter().map(point).collect()
    };
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|metric| metric.get_counter().get_value()),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricType::GAUGE => {
            Data::Gauge(Gauge { data_points: numbers(|metric| metric.get_gauge().get_value()) })
        }
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: family.get_metric().iter().map(|metric| buckets(metric, span)).collect(),
            aggregation_temporality,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn number(metric: &proto::Metric, value: f64, span: Span) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn buckets(metric: &proto::Metric, span: Span) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let (explicit_bounds, up_to): (Vec<f64>, Vec<u64>) =
        finite.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).unzip();
    // What is above the last bound is in a bucket of its own.
    let up_to = up_to.into_iter().chain([histogram.get_sample_count()]);
    let counts =
        up_to.scan(0, |below, count| Some(count.saturating_sub(std::mem::replace(below, count))));
    HistogramDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts.collect(),
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

fn labels(metric: &proto::Metric) -> Vec<KeyValue> {
    metric.get_label().iter().map(|label| attribute(label.name(), label.value())).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntGauge, Registry};

    use super::*;

    #[test]
    fn the_three_kinds_as_otlp_has_them() {
        let registry = Registry::new();
        let count = IntCounter::new("x_total", "Counts.").expect("a metric");
        let gauge = IntGauge::new("x", "Stands.").expect("a metric");
        let options = HistogramOpts::new("x_seconds", "Takes.").buckets(vec![0.1, 1.0]);
        let histogram = HistogramVec::new(options, &["of"]).expect("a metric");
        let all: [Box<dyn prometheus::core::Collector>; 3] =
            [Box::new(count.clone()), Box::new(gauge.clone()), Box::new(histogram.clone())];
        all.into_iter().for_each(|metric| registry.register(metric).expect("registered"));
        count.inc_by(3);
        gauge.set(-2);
        for seconds in [0.05, 0.05, 0.1, 0.2, 0.9, 2.0] {
            histogram.with_label_values(&["a"]).observe(seconds);
        }
        let span = Span { start: 1, now: 2 };
        let resource = [("service.name", "watchkeep".to_owned())];
        let request = request(&registry.gather(), &resource, "watchkeep", span);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let of = |name: &str| {
            let metric = metrics.iter().find(|metric| metric.name == name).expect("the metric");
            metric.data.clone().expect("its data")
        };
        let Data::Sum(sum) = of("x_total") else { panic!("a counter is a sum") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(3.0)));
        let Data::Gauge(gauge) = of("x") else { panic!("a gauge") };
        assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsDouble(-2.0)));
        let Data::Histogram(histogram) = of("x_seconds") else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (&point.explicit_bounds, &point.bucket_counts),
            (&vec![0.1, 1.0], &vec![3, 2, 1])
        );
        assert_eq!((point.count, point.start_time_unix_nano, point.time_unix_nano), (6, 1, 2));
        assert_eq!(point.attributes, [attribute("of", "a")]);
        let resource = request.resource_metrics[0].resource.as_ref().expect("a resource");
        assert_eq!(resource.attributes, [attribute("service.name", "watchkeep")]);
    }
}
