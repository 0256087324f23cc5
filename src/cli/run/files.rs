//! Where the files of a run are, and whether they are of this run: nothing of anyone's is written over unasked.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::flight::Fatal;
use super::folder;
use super::journal::{Header, Journal};
use super::{RunCommand, RunError};
use crate::cli::remote::Complaint;

/// The files of a run.
pub struct Files {
    /// The lines: the input itself, or the listing of a folder.
    pub lines: PathBuf,
    pub results: PathBuf,
    pub journal: PathBuf,
}

impl Files {
    pub fn of(command: &RunCommand, input: &Path, is_folder: bool) -> Result<Self, RunError> {
        let output = &command.output;
        if is_folder {
            let own = folder::own_folder(output);
            fs::create_dir_all(&own).map_err(|error| Fatal::Write(own.clone(), error))?;
            let (lines, results) = (own.join("inputs.jsonl"), own.join("results.jsonl"));
            return Ok(Self { lines, results, journal: own.join("journal") });
        }
        if output.is_dir() {
            let problem = format!(
                "{} is a folder, but the input is a file; name a file for the results, such as {}",
                output.display(),
                output.join("results.jsonl").display()
            );
            return Err(Complaint::usage(problem).into());
        }
        if fs::canonicalize(output).is_ok_and(|output| output == input) {
            let problem = format!("{} is the input and cannot be the output, too", output.display());
            return Err(Complaint::usage(problem).into());
        }
        let journal = beside(output, "ekiben-run");
        Ok(Self { lines: input.to_owned(), results: output.clone(), journal })
    }
}

/// A name with one more ending: `results.jsonl`, `results.jsonl.part`.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Makes sure that a journal is of the run that the command asks for.
pub fn fits(journal: &Journal, command: &RunCommand, input: &Path, server: &str) -> Result<(), RunError> {
    let Header { endpoint, input: first_input, server: first_server, .. } = &journal.header;
    let output = command.output.display();
    let other = if *endpoint != command.endpoint {
        format!("{output} is of a run on the endpoint {endpoint}, not {}", command.endpoint)
    } else if first_input != input {
        format!("{output} is of a run over {}, not {}", first_input.display(), input.display())
    } else {
        if first_server != server {
            eprintln!("ekiben: this run began at {first_server}; what was under way there is run again at {server}");
        }
        return Ok(());
    };
    Err(Complaint::usage(format!("{other}; name another --output, or start over with --fresh")).into())
}

/// Never writes over a file of which it is not known that it is ours.
pub fn refuse_foreign(command: &RunCommand, files: &Files) -> Result<(), RunError> {
    let is_foreign = fs::metadata(&files.results).is_ok_and(|found| found.len() > 0);
    if command.fresh || !is_foreign {
        return Ok(());
    }
    let problem = format!(
        "{} is there already, and no run is known that it is of; name another --output, or write over it with --fresh",
        files.results.display()
    );
    Err(Complaint::usage(problem).into())
}
