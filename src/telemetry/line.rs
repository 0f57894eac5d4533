//! A log line with the trace it was written in: the formatter of tracing-subscriber, and behind what it wrote the two ids
//! by which a line, a span and the line of another node are found together.
//!
//! ```text
//! 2026-01-05T09:00:00Z  INFO …: opinion service="web" trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331
//! {"timestamp":…,"message":"opinion","service":"web","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}
//! ```

use std::fmt::{self, Write};

use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// A formatter that adds the ids of the current span.
pub(super) struct WithTrace<F> {
    inner: F,
    json: bool,
}

impl<F> WithTrace<F> {
    /// Around one that writes lines of text.
    pub(super) fn text(inner: F) -> Self {
        Self { inner, json: false }
    }

    /// Around one that writes an object of JSON a line.
    pub(super) fn json(inner: F) -> Self {
        Self { inner, json: true }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // The current span of the thread: what a layer's filter keeps out of the log is in the trace all the same.
        let current = Span::current();
        if current.is_disabled() {
            return self.inner.format_event(context, writer, event);
        }
        let current = current.context();
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&joined(&line, current.span().span_context(), self.json))
    }
}

/// The line with the ids at its end; unchanged outside of a trace.
fn joined(line: &str, span: &SpanContext, json: bool) -> String {
    let end = if json { "}\n" } else { "\n" };
    let Some(open) = line.strip_suffix(end).filter(|_| span.is_valid()) else {
        return line.to_owned();
    };
    let (trace, span) = (span.trace_id(), span.span_id());
    let mut joined = open.to_owned();
    // Writing to a string cannot fail.
    let _ = if json {
        write!(joined, r#","trace_id":"{trace}","span_id":"{span}""#)
    } else {
        write!(joined, " trace_id={trace} span_id={span}")
    };
    joined + end
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    #[test]
    fn the_ids_stand_at_the_end_of_the_line() {
        let (trace, id) = (TraceId::from(0x0af7_6519_16cd), SpanId::from(0xb7ad));
        let span = SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE);
        let ids = "trace_id=000000000000000000000af7651916cd span_id=000000000000b7ad";
        assert_eq!(joined("INFO opinion\n", &span, false), format!("INFO opinion {ids}\n"));
        let json = joined("{\"message\":\"opinion\"}\n", &span, true);
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["trace_id"], "000000000000000000000af7651916cd");
        assert_eq!(
            (&read["span_id"], &read["message"]),
            (&"000000000000b7ad".into(), &"opinion".into())
        );
        assert!(json.ends_with("}\n"));
        assert_eq!(joined("INFO x\n", &SpanContext::NONE, false), "INFO x\n");
    }
}
