//! Messages of gRPC calls, as `go-grpc-prometheus` counts them. Those of streams are counted as they pass; a unary call
//! brings one and, if it ends well, answers one, so its numbers follow from those of calls and cost nothing beside them.

use std::collections::HashMap;

use prometheus::{
    IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::{Metric, MetricFamily},
};

/// Labels of both metrics.
const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

/// What passed over streams.
#[derive(Clone)]
pub(crate) struct StreamMessages {
    pub(crate) received: IntCounterVec,
    pub(crate) sent: IntCounterVec,
}

/// One of the two metrics: what passed over streams, and what follows from calls.
struct Messages {
    name: &'static str,
    help: &'static str,
    streams: IntCounterVec,
    calls: IntCounterVec,
    desc: Desc,
}

/// Declares both.
///
/// # Errors
/// When one of the names is taken.
pub(super) fn declare(
    registry: &prometheus::Registry,
    started: &IntCounterVec,
    handled: &IntCounterVec,
) -> Result<StreamMessages, prometheus::Error> {
    let declare = |name: &'static str, help: &'static str, calls: &IntCounterVec| {
        let streams = IntCounterVec::new(Opts::new(name, help), &LABELS)?;
        let labels = LABELS.map(str::to_owned).to_vec();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        let messages =
            Messages { name, help, streams: streams.clone(), calls: calls.clone(), desc };
        registry.register(Box::new(messages))?;
        Ok::<_, prometheus::Error>(streams)
    };
    Ok(StreamMessages {
        received: declare("grpc_server_msg_received_total", "gRPC messages received.", started)?,
        sent: declare("grpc_server_msg_sent_total", "gRPC messages sent.", handled)?,
    })
}

impl Collector for Messages {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.streams.collect();
        let Some(family) = families.first_mut() else { return families };
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        let mut metrics = family.take_metric();
        for mut family in self.calls.collect() {
            metrics.extend(family.take_metric().into_iter().filter_map(unary));
        }
        family.set_metric(metrics);
        families
    }
}

/// A unary method's metric, without the code, if that is a good one.
fn unary(mut metric: Metric) -> Option<Metric> {
    let labels = metric.take_label();
    let counts = labels.iter().all(|label| match label.name() {
        "grpc_type" => label.value() == "unary",
        "grpc_code" => label.value() == "OK",
        _ => true,
    });
    let kept = labels.into_iter().filter(|label| LABELS.contains(&label.name()));
    metric.set_label(kept.collect());
    counts.then_some(metric)
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;

    #[test]
    fn what_calls_tell_and_what_passed_over_streams() {
        let registry = Registry::new();
        let started = IntCounterVec::new(Opts::new("started", "s"), &LABELS).unwrap();
        let codes = [&LABELS[..], &["grpc_code"]].concat();
        let handled = IntCounterVec::new(Opts::new("handled", "h"), &codes).unwrap();
        let streams = declare(&registry, &started, &handled).unwrap();
        started.with_label_values(&["unary", "KV", "Put"]).inc_by(3);
        started.with_label_values(&["bidi_stream", "Watch", "Watch"]).inc_by(2);
        handled.with_label_values(&["unary", "KV", "Put", "OK"]).inc_by(2);
        handled.with_label_values(&["unary", "KV", "Put", "NotFound"]).inc();
        streams.sent.with_label_values(&["bidi_stream", "Watch", "Watch"]).inc_by(9);
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |method: &str, kind: &str, service: &str| {
            format!("{{grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"}}")
        };
        let put = of("Put", "unary", "KV");
        let watch = of("Watch", "bidi_stream", "Watch");
        assert_eq!(
            samples,
            [
                format!("grpc_server_msg_received_total{put} 3"),
                format!("grpc_server_msg_sent_total{put} 2"),
                format!("grpc_server_msg_sent_total{watch} 9"),
            ]
        );
    }
}
