//! Something made of PEM files and made anew when they change. A file that is broken changes nothing: what was made last
//! stays.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Files, Material, TlsError, files::Contents};

type Build<T> = dyn Fn(&Files, Material) -> Result<T, TlsError> + Send + Sync;

/// A `T` made of files.
pub struct Reloading<T> {
    files: Files,
    build: Box<Build<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    /// What the files held when they were last looked at, good or not; none: they could not be read.
    seen: Option<Contents>,
    /// The latest complaint, so that it is made once.
    complaint: Option<String>,
}

impl<T> Reloading<T> {
    /// Reads the files and builds the first. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(
        files: Files,
        build: impl Fn(&Files, Material) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let seen = files.read()?;
        let current = Arc::new(build(&files, files.parse(&seen)?)?);
        let state = Mutex::new(State { current, seen: Some(seen), complaint: None });
        Ok(Self { files, build: Box::new(build), state })
    }

    /// The latest that was good.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.state().current)
    }

    /// Looks at the files. True: they changed, and [`Self::current`] is new. Blocks for as long as reading a few small
    /// files takes.
    ///
    /// # Errors
    /// When they changed and are of no use; said once for each change.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let read = self.files.read();
        let mut state = self.state();
        if let (Ok(read), Some(seen)) = (&read, &state.seen)
            && read == seen
        {
            return Ok(false);
        }
        let built = match read {
            Ok(contents) => {
                let built = self
                    .files
                    .parse(&contents)
                    .and_then(|material| (self.build)(&self.files, material));
                state.seen = Some(contents);
                state.complaint = None;
                built
            }
            Err(error) => {
                state.seen = None;
                Err(error)
            }
        };
        match built {
            Ok(new) => {
                state.current = Arc::new(new);
                state.complaint = None;
                Ok(true)
            }
            Err(error) => {
                let text = Some(error.to_string());
                if state.complaint == text {
                    return Ok(false);
                }
                state.complaint = text;
                Err(error)
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("files", &self.files).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
