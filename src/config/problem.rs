//! What is wrong with a configuration, and where: `watchkeep.yaml:41: path: what, and the remedy`.

use std::fmt;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Where it comes from.
    pub(crate) place: Place,
    /// The field: `alerting.pages.receivers[0]`. Empty: the document as a whole.
    pub(crate) path: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In the file, at a line.
    Line(String, u64),
    /// Somewhere in the file, or not in it although it should be.
    File(String),
    /// By a flag on the command line.
    Flag(&'static str),
    /// Nowhere: it is a default.
    Default,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(file, line) => write!(f, "{file}:{line}: ")?,
            Place::File(file) => write!(f, "{file}: ")?,
            Place::Flag(flag) => write!(f, "{flag}: ")?,
            Place::Default => {}
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        // One problem, one line.
        let mut words = self.message.split_whitespace();
        words.next().map_or(Ok(()), |first| f.write_str(first))?;
        words.try_for_each(|word| write!(f, " {word}"))
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
