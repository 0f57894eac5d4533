//! Rule files from the disk: globs to files, files to groups. Reads, and decides nothing; what is wrong with a file
//! is said by [`super::judge`].

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    judge::{Problem, parse_file},
    model::{Expressions, Group},
};

/// Most rule files.
const FILES_MAX: usize = 10_000;

/// Where rules come from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Files or globs (`rules/*.yml`), relative to `base`.
    pub patterns: Vec<String>,
    /// The directory that relative patterns are meant from.
    pub base: PathBuf,
    /// Rules that come with the program: name and text.
    pub shipped: Vec<(String, String)>,
    /// For groups that name no interval.
    pub interval: Duration,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// In the order of the files.
    pub groups: Vec<Group>,
    /// Each file's text; what changes here has to be judged again.
    pub texts: BTreeMap<String, String>,
}

/// Reads and judges everything.
///
/// # Errors
/// Everything that is wrong in any file. A glob that finds nothing is no error, a file that is not there is.
pub fn load(origin: &Origin, expressions: &dyn Expressions) -> Result<Loaded, Vec<Problem>> {
    let texts = read(origin)?;
    let mut groups = Vec::new();
    let mut problems = Vec::new();
    for (file, text) in &texts {
        match parse_file(file, text, origin.interval, expressions) {
            Ok(found) => groups.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    match problems.is_empty() {
        true => Ok(Loaded { groups, texts }),
        false => Err(problems),
    }
}

/// The texts of all files by name.
///
/// # Errors
/// When one cannot be read.
pub(super) fn read(origin: &Origin) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let mut texts: BTreeMap<String, String> = origin.shipped.iter().cloned().collect();
    let mut problems = Vec::new();
    for pattern in &origin.patterns {
        match files(pattern, &origin.base) {
            Ok(files) => {
                for file in files {
                    let name = file.display().to_string();
                    match fs::read_to_string(&file) {
                        Ok(text) => drop(texts.insert(name, text)),
                        Err(error) => problems.push(problem(&name, error.to_string())),
                    }
                }
            }
            Err(message) => problems.push(problem(pattern, message)),
        }
    }
    if texts.len() > FILES_MAX {
        let message = format!("more than {FILES_MAX} rule files; put groups together");
        problems.push(problem(&origin.base.display().to_string(), message));
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

fn problem(file: &str, message: String) -> Problem {
    Problem { file: file.to_owned(), line: None, message }
}

/// The files that a pattern means.
fn files(pattern: &str, base: &Path) -> Result<Vec<PathBuf>, String> {
    let path = base.join(pattern);
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let found = glob::glob(&path.to_string_lossy()).map_err(|e| format!("glob: {e}"))?;
    let files = found.filter_map(Result::ok).filter(|path| path.is_file());
    Ok(files.take(FILES_MAX + 1).collect())
}
