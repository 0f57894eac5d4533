//! Records for this folder's unit tests.

use watchkeep_catalog::{Alert, AlertSource, LabelSet};

use crate::fixtures::time;

/// An alert from one time to another, in seconds.
pub(crate) fn alert(labels: &[(&str, &str)], starts: i64, ends: Option<i64>) -> Alert {
    Alert {
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        annotations: LabelSet::new(),
        starts_at: time(starts),
        ends_at: ends.map(time),
        updated_at: time(starts),
        timeout: false,
        generator_url: String::new(),
        source: AlertSource::Api,
    }
}
