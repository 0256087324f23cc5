//! What is wrong with the settings: all of it at once, each with its place and the way out.

use std::fmt;

use super::tree::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Dotted; empty where it is about a whole file.
    path: String,
    origin: Option<Origin>,
    complaint: String,
}

impl Problem {
    pub fn new(path: &str, origin: Option<Origin>, complaint: impl Into<String>) -> Self {
        Self { path: path.to_owned(), origin, complaint: complaint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path.as_str(), &self.origin) {
            ("", None) => {}
            ("", Some(origin)) => write!(f, "{origin}: ")?,
            (path, None) => write!(f, "{path}: ")?,
            (path, Some(origin)) => write!(f, "{path} ({origin}): ")?,
        }
        f.write_str(&self.complaint)
    }
}

/// Everything that is wrong, one line each.
#[derive(Clone, Debug, PartialEq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("there is 1 problem with the settings:")?,
            count => write!(f, "there are {count} problems with the settings:")?,
        }
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known word that was probably meant, if any is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in four letters, and one for short words; more would suggest words that are merely as long.
    let slips_max = 1 + word.chars().count() / 4;
    let slips = |candidate: &&str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let (distance, candidate) = known.into_iter().map(|word| (slips(&word), word)).min_by_key(|(slips, _)| *slips)?;
    (distance <= slips_max).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_meant_and_a_strange_word_finds_none() {
        let known = ["listen", "workers", "keep_alive", "concurrency", "url"];
        assert_eq!(nearest("listn", known), Some("listen"));
        assert_eq!(nearest("keepalive", known), Some("keep_alive"));
        assert_eq!(nearest("max_concurrency", known), Some("concurrency"));
        assert_eq!(nearest("ulr", known), Some("url"));
        assert_eq!(nearest("banana", known), None);
    }
}
