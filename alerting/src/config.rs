//! Alerting's settings.

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where: `pages.receivers[0]`, relative to the room.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}
