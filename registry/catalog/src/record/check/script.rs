//! A check that runs a local program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};

/// Most arguments and variables.
const MANY_MAX: u64 = 100;

/// A program out of the collector's folder of scripts, that says by its exit code how things are, as Nagios' plugins
/// do: 0 well, 1 warning, 2 critical, 3 unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptCheck {
    /// The file's name in the folder.
    pub command: String,
    /// Arguments; `$ADDRESS$` and `$PORT$` stand for the instance's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// All of its environment besides `PATH`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether a warning (exit code 1) is a failure.
    #[serde(default)]
    pub warning_fails: bool,
}

impl CheckKind for ScriptCheck {
    fn connects(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CheckError> {
        let name = &self.command;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(CheckError::Field {
                field: "script.command",
                value: name.clone(),
                remedy: "give the name of a file in collector.scripts.dir, without a path",
            });
        }
        CheckError::range("script.args", self.args.len() as u64, 0, MANY_MAX)?;
        CheckError::range("script.env", self.env.len() as u64, 0, MANY_MAX)?;
        if let Some(text) = self.args.iter().chain(self.env.values()).find(|t| t.contains('\0')) {
            return Err(CheckError::Field {
                field: "script.args",
                value: text.clone(),
                remedy: "leave out the NUL character",
            });
        }
        match self.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            Some(name) => Err(CheckError::Field {
                field: "script.env",
                value: name.clone(),
                remedy: "give a variable's name without =",
            }),
            None => Ok(()),
        }
    }
}
