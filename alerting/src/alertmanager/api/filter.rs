//! The query of the lists of alerts: `?active=…&silenced=…&inhibited=…&filter=…&receiver=…`.

use regex::Regex;

use super::{Problem, filters};
use crate::alertmanager::{
    board::Quiet,
    matcher::{Matcher, all_match},
};

/// What is wanted.
#[derive(Debug)]
pub(super) struct Filter {
    active: bool,
    silenced: bool,
    inhibited: bool,
    matchers: Vec<Matcher>,
    receiver: Option<Regex>,
}

impl Filter {
    /// Reads a query string.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let mut filter = Self {
            active: true,
            silenced: true,
            inhibited: true,
            matchers: Vec::new(),
            receiver: None,
        };
        let mut texts = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let flag = || match value.as_ref() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                other => {
                    Err(Problem::bad_request(format!("{name}: {other:?} is not true or false")))
                }
            };
            match name.as_ref() {
                "active" => filter.active = flag()?,
                "silenced" => filter.silenced = flag()?,
                "inhibited" => filter.inhibited = flag()?,
                "filter" => texts.push(value.into_owned()),
                "receiver" => {
                    let regex = Regex::new(&format!("^(?:{value})$"));
                    let wrong =
                        |e| Problem::bad_request(format!("failed to parse receiver param: {e}"));
                    filter.receiver = Some(regex.map_err(wrong)?);
                }
                // `unprocessed` and whatever comes later changes nothing: every alert is processed.
                _ => {}
            }
        }
        filter.matchers = filters(&texts)?;
        Ok(filter)
    }

    pub(super) fn wants_labels(&self, labels: &watchkeep_catalog::LabelSet) -> bool {
        all_match(&self.matchers, labels)
    }

    pub(super) fn wants_receiver(&self, receiver: &str) -> bool {
        self.receiver.as_ref().is_none_or(|regex| regex.is_match(receiver))
    }

    pub(super) fn wants_state(&self, quiet: &Quiet) -> bool {
        (self.silenced || quiet.silenced_by.is_empty())
            && (self.inhibited || quiet.inhibited_by.is_empty())
            && (self.active || quiet.is_quiet())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let filter = Filter::read(Some("active=false&filter=a%3D%22b%22&receiver=x.*")).unwrap();
        assert!(!filter.wants_state(&Quiet::default()));
        assert!(filter.wants_state(&Quiet { silenced_by: vec!["s".into()], ..Quiet::default() }));
        assert!(filter.wants_receiver("xy") && !filter.wants_receiver("yx"));
        let labels = |value: &str| [("a".to_owned(), value.to_owned())].into();
        assert!(filter.wants_labels(&labels("b")) && !filter.wants_labels(&labels("c")));
        for (query, message) in [
            ("filter=a", "bad matcher format: "),
            ("active=perhaps", "active: "),
            ("receiver=(", "failed to parse receiver param: "),
        ] {
            let Problem(status, said) = Filter::read(Some(query)).unwrap_err();
            assert_eq!(status, 400);
            assert!(said.starts_with(message), "{said}");
        }
    }
}
