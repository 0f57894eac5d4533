//! What the records of a section have to match. Pure.

use regex::Regex;
use watchkeep_catalog::DnsRecordRules;

/// The rules of one section, their regular expressions compiled.
#[derive(Debug)]
pub(super) struct Rules {
    /// `answer`, `authority` or `additional`.
    section: &'static str,
    any: Vec<Regex>,
    all: Vec<Regex>,
    not: Vec<Regex>,
    none: Vec<Regex>,
}

impl Rules {
    /// # Errors
    /// Which expression is malformed.
    pub(super) fn new(section: &'static str, rules: &DnsRecordRules) -> Result<Self, String> {
        let compile = |rule: &str, patterns: &[String]| -> Result<Vec<Regex>, String> {
            let compiled: Result<_, regex::Error> =
                patterns.iter().map(|pattern| Regex::new(pattern)).collect();
            compiled.map_err(|e| format!("dns.validate_{section}_rrs.{rule}: {e}"))
        };
        Ok(Self {
            section,
            any: compile("fail_if_matches_regexp", &rules.fail_if_matches_regexp)?,
            all: compile("fail_if_all_match_regexp", &rules.fail_if_all_match_regexp)?,
            not: compile("fail_if_not_matches_regexp", &rules.fail_if_not_matches_regexp)?,
            none: compile("fail_if_none_matches_regexp", &rules.fail_if_none_matches_regexp)?,
        })
    }

    /// Whether nothing is ruled, so that records need no text.
    pub(super) fn is_empty(&self) -> bool {
        [&self.any, &self.all, &self.not, &self.none].iter().all(|patterns| patterns.is_empty())
    }

    /// Judges the records as text, as blackbox_exporter does.
    ///
    /// # Errors
    /// The rule that is broken, and by which record.
    pub(super) fn judge(&self, records: &[String]) -> Result<(), String> {
        let section = self.section;
        if records.is_empty() && !(self.not.is_empty() && self.none.is_empty()) {
            return Err(format!("the {section} section has no record, but some have to match"));
        }
        for record in records {
            if let Some(pattern) = self.any.iter().find(|pattern| pattern.is_match(record)) {
                return Err(format!("{section} record {record:?} matches {:?}", pattern.as_str()));
            }
            if let Some(pattern) = self.not.iter().find(|pattern| !pattern.is_match(record)) {
                return Err(format!(
                    "{section} record {record:?} does not match {:?}",
                    pattern.as_str()
                ));
            }
        }
        // The name says otherwise, but so it is there: the probe fails unless every record matches all.
        if !self.all.is_empty()
            && let Some(record) = records.iter().find(|r| !self.all.iter().all(|p| p.is_match(r)))
        {
            return Err(format!(
                "{section} record {record:?} does not match all of fail_if_all_match_regexp"
            ));
        }
        let one = |record: &String| self.none.iter().any(|pattern| pattern.is_match(record));
        if !self.none.is_empty() && !records.iter().any(one) {
            let patterns: Vec<_> = self.none.iter().map(Regex::as_str).collect();
            return Err(format!("no {section} record matches any of {patterns:?}"));
        }
        Ok(())
    }
}
