//! A check that is as another is.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};
use crate::name::check_name;

/// Mirrors a check, an instance, or a whole service.
///
/// ```text
/// service, instance, check   the majority of opinions on that check
/// service, instance          the verdict on that instance
/// service                    good while at least `passing_min` of its instances are not critical
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasCheck {
    /// The service.
    pub service: String,
    /// The instance; none: the whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The check; none: the whole instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Of a whole service: the fewest instances that have to be well.
    #[serde(default = "one")]
    pub passing_min: u32,
}

fn one() -> u32 {
    1
}

impl CheckKind for AliasCheck {
    fn connects(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CheckError> {
        check_name("alias.service", &self.service)?;
        if let Some(instance) = &self.instance {
            check_name("alias.instance", instance)?;
        }
        if let Some(check) = &self.check {
            check_name("alias.check", check)?;
            if self.instance.is_none() {
                return Err(CheckError::Field {
                    field: "alias.check",
                    value: check.clone(),
                    remedy: "give alias.instance as well, or leave it out",
                });
            }
        }
        CheckError::range("alias.passing_min", self.passing_min.into(), 1, 1_000_000)
    }
}
