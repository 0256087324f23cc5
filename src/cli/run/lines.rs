//! The lines of an input, one at a time, and what each asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::client::submission::Options;

/// Most bytes of a line; more is taken for a file that has no lines.
pub const LINE_MAX: u64 = 100 * 1024 * 1024;

/// How much is read at a time.
const READ: usize = 256 * 1024;

/// Reads a file by lines.
pub struct Lines {
    file: BufReader<File>,
    number: u64,
    bytes: u64,
    digest: Sha256,
}

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1, blank ones too, as editors do.
    pub number: u64,
    pub text: Vec<u8>,
}

/// How a line is to be understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// An object with `custom_id` and `input` is a task with its options, all else an input
    #[default]
    Auto,
    /// Every line is an input
    Inputs,
    /// Every line is a task: `{"input": …}`, with `custom_id` and options where wanted
    Tasks,
}

/// What a line asks for.
#[derive(Debug)]
pub struct Asked {
    pub custom_id: Option<String>,
    pub input: Vec<u8>,
    pub options: Options,
}

/// What is known of an input once it was read through.
#[derive(Debug)]
pub struct Survey {
    /// How many lines are not blank.
    pub lines: u64,
    /// The digest of as much of its beginning as was asked for; `None` where it is shorter.
    pub digest: Option<String>,
}

impl Lines {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::with_capacity(READ, File::open(path)?);
        Ok(Self { file, number: 0, bytes: 0, digest: Sha256::new() })
    }

    /// The next line that is not blank, without its end.
    pub fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let read = (&mut self.file).take(LINE_MAX + 1).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if text.len() as u64 > LINE_MAX {
                let problem = format!("line {} is longer than {LINE_MAX} bytes", self.number);
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            self.bytes += read as u64;
            self.digest.update(&text);
            if self.number == 1 && text.starts_with(b"\xef\xbb\xbf") {
                text.drain(..3);
            }
            if !text.trim_ascii().is_empty() {
                text.truncate(text.trim_ascii_end().len());
                return Ok(Some(Line { number: self.number, text }));
            }
        }
    }

    /// How much was read, and the digest of that.
    pub fn read_so_far(&self) -> (u64, String) {
        (self.bytes, hex(&self.digest.clone().finalize()))
    }
}

impl Asked {
    /// Takes a line apart.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the line.
    pub fn of(text: &[u8], form: Form) -> Result<Self, String> {
        let no_json = |error: serde_json::Error| format!("the line is no JSON: {error}");
        let whole: &RawValue = serde_json::from_slice(text).map_err(no_json)?;
        let input = || Self { custom_id: None, input: text.trim_ascii().to_vec(), options: Options::default() };
        if form == Form::Inputs {
            return Ok(input());
        }
        let members: Option<BTreeMap<Cow<str>, &RawValue>> = serde_json::from_str(whole.get()).ok();
        let is_task = |members: &BTreeMap<_, _>| members.contains_key("custom_id") && members.contains_key("input");
        match (form, members) {
            (Form::Auto, Some(members)) if is_task(&members) => Self::task(&members),
            (Form::Auto | Form::Inputs, _) => Ok(input()),
            (Form::Tasks, Some(members)) => Self::task(&members),
            (Form::Tasks, None) => Err(r#"the line is no task; write it like {"input": …}"#.to_owned()),
        }
    }

    fn task(members: &BTreeMap<Cow<str>, &RawValue>) -> Result<Self, String> {
        let (mut custom_id, mut input, mut options) = (None, None, Options::default());
        for (name, value) in members {
            match name.as_ref() {
                "custom_id" => custom_id = Some(serde_json::from_str(value.get()).map_err(|_| "custom_id is no text")?),
                "input" => input = Some(value.get().as_bytes().to_vec()),
                "tags" => {
                    let tags: BTreeMap<String, String> =
                        serde_json::from_str(value.get()).map_err(|_| "tags are no object of texts")?;
                    tags.iter().for_each(|(key, value)| options.tag(key, value));
                }
                // Texts without their quotes, numbers as they are; null is as if it were not there.
                name if value.get() != "null" => {
                    let text: Option<String> = serde_json::from_str(value.get()).ok();
                    options.set(name, text.as_deref().unwrap_or(value.get()))?;
                }
                _ => {}
            }
        }
        let input = input.ok_or(r#"the line is a task without "input""#)?;
        Ok(Self { custom_id, input, options })
    }
}

/// Reads a file through: counts its lines, and takes the digest of its first so many bytes.
pub fn survey(path: &Path, prefix: u64) -> io::Result<Survey> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; READ];
    let (mut lines, mut is_blank, mut left, mut digest) = (0, true, prefix, Sha256::new());
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        let within = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        digest.update(&piece[..within]);
        left -= within as u64;
        for byte in &piece[..read] {
            match byte {
                b'\n' => is_blank = true,
                byte if is_blank && !byte.is_ascii_whitespace() => {
                    is_blank = false;
                    lines += 1;
                }
                _ => {}
            }
        }
    }
    Ok(Survey { lines, digest: (left == 0).then(|| hex(&digest.finalize())) })
}

/// The key by which the service knows the task of a line again.
pub fn key(run: &str, round: u32, line: u64, content: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{run} {round} {line} "));
    digest.update(content);
    format!("run-{}", &hex(&digest.finalize())[..40])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_editors_do_and_blank_ones_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, "\u{feff}{\"a\":1}\r\n\n  \n2\n\"last\"").unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            found.push((line.number, String::from_utf8(line.text).unwrap()));
        }
        assert_eq!(found, [(1, "{\"a\":1}".into()), (4, "2".into()), (5, "\"last\"".to_owned())]);
        let (bytes, digest) = lines.read_so_far();
        let survey = survey(&path, bytes).unwrap();
        assert_eq!(survey.lines, 3);
        assert_eq!(survey.digest, Some(digest));
        assert_eq!(super::survey(&path, bytes + 1).unwrap().digest, None);
    }

    #[test]
    fn an_object_with_a_custom_id_and_an_input_is_a_task_and_all_else_an_input() {
        let asked = |text: &str, form| Asked::of(text.as_bytes(), form).unwrap();
        let task =
            asked(r#"{"custom_id":"a","input":{"x": 1.50},"priority":2,"timeout":"3s","tags":{"k":"v"}}"#, Form::Auto);
        assert_eq!(task.custom_id.as_deref(), Some("a"));
        assert_eq!(task.input, br#"{"x": 1.50}"#, "its bytes are kept");
        let mut options = Options::default();
        options.set("priority", "2").unwrap();
        options.set("timeout", "3s").unwrap();
        options.tag("k", "v");
        assert_eq!(task.options, options);
        let bare = r#"{"input":"embed me"}"#;
        assert_eq!(asked(bare, Form::Auto).input, bare.as_bytes());
        assert_eq!(asked(bare, Form::Tasks).input, br#""embed me""#);
        let both = r#"{"custom_id":"a","input":1}"#;
        assert_eq!(asked(both, Form::Inputs).input, both.as_bytes());
    }

    #[test]
    fn a_line_that_cannot_be_a_task_says_why() {
        let problem = |text: &str, form| Asked::of(text.as_bytes(), form).unwrap_err();
        assert!(problem("{\"a\":", Form::Inputs).contains("no JSON"));
        assert!(problem("3", Form::Tasks).contains("no task"));
        assert!(problem("{\"custom_id\":\"a\"}", Form::Tasks).contains("without \"input\""));
        assert!(problem("{\"custom_id\":\"a\",\"input\":1,\"colour\":2}", Form::Auto).contains("\"colour\""));
    }

    #[test]
    fn keys_differ_by_run_round_line_and_content_and_by_nothing_else() {
        let key = super::key("r", 1, 7, b"x");
        assert_eq!(key, super::key("r", 1, 7, b"x"));
        for other in [
            super::key("s", 1, 7, b"x"),
            super::key("r", 2, 7, b"x"),
            super::key("r", 1, 8, b"x"),
            super::key("r", 1, 7, b"y"),
        ] {
            assert_ne!(key, other);
        }
    }
}
