//! Which traces are kept: whoever began a trace has decided for all of it; of those that begin here a share, and every one
//! that begins with a probe which may turn an opinion. So a fault is traced from its probe to its callback at any ratio.

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Link, SpanKind, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

/// The field of a probe's span that says that it may turn an opinion.
const EDGE: &str = "edge";

/// A parent-based sampler that keeps a share of traces, and faults always.
#[derive(Debug, Clone)]
pub(super) struct FaultsAlways(Sampler);

impl FaultsAlways {
    /// Keeps this share, 0 to 1, of the traces that begin here.
    pub(super) fn at(ratio: f64) -> Self {
        Self(Sampler::TraceIdRatioBased(ratio))
    }
}

impl ShouldSample for FaultsAlways {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let begun = parent.map(|parent| parent.span().span_context().clone());
        let root = match begun.filter(opentelemetry::trace::SpanContext::is_valid) {
            Some(parent) if parent.is_sampled() => Sampler::AlwaysOn,
            Some(_) => Sampler::AlwaysOff,
            None if attributes.iter().any(is_edge) => Sampler::AlwaysOn,
            None => self.0.clone(),
        };
        root.should_sample(parent, trace, name, kind, attributes, links)
    }
}

fn is_edge(attribute: &KeyValue) -> bool {
    attribute.key.as_str() == EDGE && attribute.value == Value::Bool(true)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};
    use opentelemetry_sdk::trace::SamplingDecision;

    use super::*;

    fn keeps(ratio: f64, parent: Option<TraceFlags>, attributes: &[KeyValue]) -> bool {
        let (trace, span) = (TraceId::from(u128::MAX), SpanId::from(7));
        let parent = parent.map(|flags| {
            let remote = SpanContext::new(trace, span, flags, true, TraceState::NONE);
            Context::new().with_remote_span_context(remote)
        });
        let kind = SpanKind::Internal;
        let sampler = FaultsAlways::at(ratio);
        let result = sampler.should_sample(parent.as_ref(), trace, "x", &kind, attributes, &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn parents_decide_then_edges_then_the_share() {
        let (on, off) = (TraceFlags::SAMPLED, TraceFlags::default());
        let (edge, calm) = ([KeyValue::new(EDGE, true)], [KeyValue::new(EDGE, false)]);
        for (ratio, parent, attributes, kept) in [
            (1.0, None, &calm, true),
            (0.0, None, &calm, false),
            (0.0, None, &edge, true),
            (0.0, Some(on), &calm, true),
            (1.0, Some(off), &edge, false),
        ] {
            assert_eq!(keeps(ratio, parent, attributes), kept, "{ratio} {parent:?} {attributes:?}");
        }
    }
}
