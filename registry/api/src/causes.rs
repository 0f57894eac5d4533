//! An error in one line.

use std::error::Error;

use tonic::Status;

/// An error and what lies behind it, each thing once: `error sending request: connection refused`. Of a status its message only.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
