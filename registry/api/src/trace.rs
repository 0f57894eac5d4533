//! The way of a trace through records: W3C `traceparent` in and out of `tracing` spans.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The `traceparent` of a span; none when it is not traced.
#[must_use]
pub fn trace_parent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| {
        let flags = context.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
    })
}

/// Makes `span` a child of the span behind `trace_parent`; without one, or with a malformed one, nothing happens.
pub fn set_parent(span: &Span, trace_parent: Option<&str>) {
    if let Some(remote) = trace_parent.and_then(parse) {
        let context = opentelemetry::Context::new().with_remote_span_context(remote);
        // Fails only when no tracer is installed: then there is nothing to join.
        let _ = span.set_parent(context);
    }
}

/// Whether the trace of a span is one that is kept.
#[must_use]
pub fn is_kept(span: &Span) -> bool {
    let context = span.context();
    context.span().span_context().is_sampled()
}

/// Links `span` with `other`, which has a part in what it does and is not above it.
pub fn link(span: &Span, other: &Span) {
    let context = other.context();
    span.add_link(context.span().span_context().clone());
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let version = parts.next()?;
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let context = SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::NONE);
    (version == "00" && parts.next().is_none() && context.is_valid()).then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_the_w3c_form() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(parse(good).is_some());
        for bad in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-xyz-b7ad6b7169203331-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
