//! What an answer says beside its values: warnings (it may be wrong) and infos (it may not be what was meant).

use std::collections::BTreeSet;

/// Most different messages of one kind in an answer.
const NOTES_MAX: usize = 10;

/// Messages, each once.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Notes {
    pub(crate) fn warn(&mut self, message: String) {
        self.warnings.insert(message);
    }

    pub(crate) fn info(&mut self, message: String) {
        self.infos.insert(message);
    }

    /// The messages, sorted; beyond the maximum, how many were left out.
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (bounded(self.warnings, "warning"), bounded(self.infos, "info"))
    }
}

fn bounded(messages: BTreeSet<String>, kind: &str) -> Vec<String> {
    let over = messages.len().saturating_sub(NOTES_MAX);
    let mut kept: Vec<String> = messages.into_iter().take(NOTES_MAX).collect();
    if over > 0 {
        kept.push(format!("{over} more {kind} annotations omitted"));
    }
    kept
}
