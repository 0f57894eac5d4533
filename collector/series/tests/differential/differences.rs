//! What version 3 answers otherwise than 2.42, and we with it. docs/promql.md lists the same for users.

use serde_json::Value;

use crate::generate::Query;

/// The name of the difference that explains the two answers, if one does. Others are kept away by how samples and
/// queries are made: windows that hold their earlier end, names of functions, and where an increase is extrapolated to
/// zero (2.42 judges the gap before the first sample after it has been cut there, version 3 before).
pub(crate) fn known<A>(
    query: &Query,
    ours: &Result<A, String>,
    theirs: &Result<Value, String>,
    why: &str,
) -> Option<&'static str> {
    if let (Ok(_), Err(error)) = (ours, theirs) {
        // A function drops names at once in 2.42, and two series that were told apart by name only are an error there.
        // We drop names when the query ends, as version 3 can.
        return error.contains("same labelset").then_some("names are dropped late");
    }
    let deviation = query.text.contains("stddev") || query.text.contains("stdvar");
    if deviation && (why.ends_with("NaN instead of 0e0") || why.ends_with("NaN instead of -0e0")) {
        return Some("the deviation of one infinite or NaN value is NaN, not 0");
    }
    if query.range.is_some() && query.text.contains("predict_linear(") && query.text.contains(" @ ")
    {
        return Some(
            "predict_linear of a window that is fixed by @: Prometheus moves it with the steps",
        );
    }
    if query.text.contains(" atan2 ") && why.starts_with("series ") {
        return Some("atan2 keeps the left side's name");
    }
    None
}
