//! Named points at which a test can end the process, as a power cut would. Only in builds with debug assertions: a release has
//! none of this.
//!
//! `WATCHKEEP_FAULT_POINTS` names a folder; where a file `point` is in it, the first process that comes by takes the file
//! away and ends. So of several nodes it is one, and once.

/// Ends the process if a test wants it to end here.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    use std::sync::OnceLock;
    static FOLDER: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| std::env::var_os("WATCHKEEP_FAULT_POINTS").map(Into::into));
    if let Some(folder) = folder
        && std::fs::remove_file(folder.join(name)).is_ok()
    {
        tracing::error!(point = name, "a test ends this process");
        std::process::abort();
    }
}

/// Ends nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_: &str) {}
