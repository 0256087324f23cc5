//! Remembers a service's routes in the data folder, so that its tasks can be taken while it is away.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::schema::{self, Route};
use crate::config::{Service, without_secrets};

/// Where the routes of one service are remembered.
#[derive(Clone, Debug)]
pub struct Memory {
    file: PathBuf,
    /// Whose routes they are: what is remembered of another URL is of no use.
    url: String,
}

impl Memory {
    /// That of a service, under the data folder. Nothing is read or written yet.
    pub fn of(service: &Service, data: &Path) -> Self {
        let file = data.join("bentoml").join(format!("{}.json", service.name));
        Self { file, url: without_secrets(&service.upstream.url).into_owned() }
    }

    /// The routes from the last time; none where there was no such time.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn recall(&self) -> io::Result<Vec<Route>> {
        let document = match fs::read(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            document => document?,
        };
        let not_ours = |error| io::Error::new(ErrorKind::InvalidData, error);
        let url = serde_json::from_slice::<Value>(&document).map_err(io::Error::from)?;
        if url["url"].as_str() != Some(&self.url) {
            return Ok(Vec::new());
        }
        schema::read(&document).map_err(not_ours)
    }

    /// Remembers routes instead of those from before. A crash leaves the one or the other.
    ///
    /// # Errors
    /// They could not be written; those from before are still there.
    pub fn keep(&self, routes: &[Route]) -> io::Result<()> {
        let mut document = schema::write(routes);
        document["url"] = self.url.clone().into();
        let folder = self.file.parent().expect("it lies in a folder of its own");
        fs::create_dir_all(folder)?;
        let new = self.file.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(document.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(folder: &Path, url: &str) -> Memory {
        Memory { file: folder.join("bentoml/sentiment.json"), url: url.to_owned() }
    }

    fn route(name: &str) -> Route {
        Route { name: name.to_owned(), path: format!("/{name}"), input: None, output: None, description: None }
    }

    #[test]
    fn the_routes_last_kept_are_recalled_for_the_same_url_alone() {
        let folder = tempfile::tempdir().unwrap();
        let known = memory(folder.path(), "http://127.0.0.1:3001");
        assert_eq!(known.recall().unwrap(), []);
        known.keep(&[route("a")]).unwrap();
        known.keep(&[route("a"), route("b")]).unwrap();
        assert_eq!(known.recall().unwrap(), [route("a"), route("b")]);
        assert_eq!(memory(folder.path(), "http://127.0.0.1:3002").recall().unwrap(), []);
    }

    #[test]
    fn a_file_that_is_not_ours_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path(), "http://a");
        memory.keep(&[]).unwrap();
        fs::write(&memory.file, "{").unwrap();
        assert!(memory.recall().is_err());
    }
}
