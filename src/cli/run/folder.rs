//! A folder as the input of a run: which files, what they are, and what the files with their outputs are called.
//!
//! The files are listed once, at the start of the run, into a file of lines: from there on it is a run over lines, and
//! nothing that comes or goes in the folder meanwhile can mix them up.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A line of the listing.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Relative to the folder, with `/` between its parts.
    pub file: String,
}

/// Where a run over a folder keeps its own files, within the folder of outputs.
pub fn own_folder(output: &Path) -> PathBuf {
    output.join(".ekiben-run")
}

/// Writes a line for each file in a folder and those below it. Hidden ones are left out, and so is `besides`, for the
/// case that the outputs go below the inputs. How many there are.
///
/// # Errors
///
/// Whatever keeps it from being read; also a name that is no text, as no line can hold it.
pub fn list(folder: &Path, besides: &Path, to: &Path) -> io::Result<u64> {
    let besides = fs::canonicalize(besides)?;
    let part = super::files::beside(to, "part");
    let mut listing = BufWriter::new(File::create(&part)?);
    let (mut count, mut folders) = (0, vec![fs::canonicalize(folder)?]);
    let root = folders[0].clone();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") || path == besides {
                continue;
            }
            // Of a link, what it leads to; a link to a folder is not followed, as it may lead round in a circle.
            let is_file = fs::metadata(&path)?.is_file();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if is_file {
                let relative = path.strip_prefix(&root).expect("it was found below");
                let Some(file) = relative.to_str() else {
                    let problem = format!("{} has a name that is no text", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
                };
                serde_json::to_writer(&mut listing, &Listed { file: file.to_owned() })?;
                listing.write_all(b"\n")?;
                count += 1;
            }
        }
    }
    listing.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(part, to)?;
    Ok(count)
}

/// The content type of a file, by its name.
pub fn content_type(file: &str) -> String {
    mime_guess::from_path(file).first_or_octet_stream().essence_str().to_owned()
}

/// What the file with a file's output is called: as the file itself where the output is of the same kind, and with
/// the output's ending after that where it is not. The name of another input is never taken.
pub fn output_name(folder: &Path, file: &str, content_type: Option<&str>) -> String {
    let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let endings = mime_guess::get_mime_extensions_str(kind).unwrap_or_default();
    let own_ending = Path::new(file).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if kind == self::content_type(file) || endings.iter().any(|ending| ending.eq_ignore_ascii_case(own_ending)) {
        return file.to_owned();
    }
    let ending = match kind {
        "application/json" => "json",
        "text/plain" => "txt",
        "image/jpeg" => "jpg",
        "audio/wav" | "audio/x-wav" => "wav",
        "application/x-npy" => "npy",
        _ => endings.first().copied().unwrap_or("bin"),
    };
    let mut name = format!("{file}.{ending}");
    while folder.join(&name).exists() {
        name = format!("{name}.output.{ending}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_below_a_folder_are_listed_but_not_hidden_ones_nor_the_outputs() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        ["a.txt", "b/c.wav", ".hidden", ".git/config", "out/a.txt.json", "b/d \"e\".txt"]
            .iter()
            .for_each(|name| make(name));
        let to = root.path().join("out/listing");
        assert_eq!(list(root.path(), &root.path().join("out"), &to).unwrap(), 3);
        let listing = fs::read_to_string(&to).unwrap();
        let mut files: Vec<String> =
            listing.lines().map(|line| serde_json::from_str::<Listed>(line).unwrap().file).collect();
        files.sort();
        assert_eq!(files, ["a.txt", "b/c.wav", "b/d \"e\".txt"]);
    }

    #[test]
    fn an_output_is_named_after_its_input_and_never_like_another_input() {
        let root = tempfile::tempdir().unwrap();
        let name = |file, kind| output_name(root.path(), file, kind);
        assert_eq!(name("b/a.wav", Some("audio/wav")), "b/a.wav");
        assert_eq!(name("a.txt", Some("application/json; charset=utf-8")), "a.txt.json");
        assert_eq!(name("a.txt", None), "a.txt.bin");
        assert_eq!(name("a.jpeg", Some("image/jpeg")), "a.jpeg");
        fs::write(root.path().join("a.txt.json"), "1").unwrap();
        assert_eq!(name("a.txt", Some("application/json")), "a.txt.json.output.json");
    }
}
