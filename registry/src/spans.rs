//! Work in a span, where somebody listens.

use futures::future::Either;
use tracing::{Instrument, Span, instrument::Instrumented};

/// Does `work` in a span. Going in and out of one costs something even where nobody listens: then it goes without.
pub(crate) fn within<F: Future>(span: Span, work: F) -> Either<F, Instrumented<F>> {
    if span.is_disabled() { Either::Left(work) } else { Either::Right(work.instrument(span)) }
}
