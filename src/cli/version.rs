//! `watchkeep version`.

use crate::out;

/// Prints it.
pub(super) fn run() {
    out::line(concat!("watchkeep ", env!("CARGO_PKG_VERSION")));
}
