//! Every test: first those of one crate at a time, then those that start processes, a few at once.

use crate::{command::cargo, peers};

/// End-to-end tests wait more than they work; more at once than this and two cores distort their clocks.
const PROCESS_TESTS_AT_ONCE: &str = "2";

/// Makes sure of the peers, then runs everything, or what the arguments choose.
pub(crate) fn test(args: &[String]) -> Result<(), String> {
    peers::ensure()?;
    if !args.is_empty() {
        return cargo(&["test", "--workspace"], args);
    }
    cargo(&["test", "--workspace", "--lib", "--bins"], &[])?;
    cargo(&["test", "--workspace", "--doc"], &[])?;
    let at_once = format!("--test-threads={PROCESS_TESTS_AT_ONCE}");
    // All of what fails, not only the first.
    cargo(&["test", "--workspace", "--no-fail-fast", "--test", "*", "--", &at_once], &[])
}
