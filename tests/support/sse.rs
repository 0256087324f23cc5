//! A client of server-sent events that takes them one by one.

use reqwest::{Client, Error, Response};
use serde_json::Value;

/// A stream of events.
pub struct Stream {
    answer: Response,
    text: String,
}

/// An event as it stood in the stream.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Stream {
    /// Asks for the events after the one of that id, or for all.
    pub async fn request(http: &Client, url: &str, last: Option<&str>) -> Result<Response, Error> {
        let request = http.get(url);
        last.iter().fold(request, |request, last| request.header("last-event-id", *last)).send().await
    }

    pub fn of(answer: Response) -> Self {
        Self { answer, text: String::new() }
    }

    /// The next block of lines, which is an event, a comment or a hint; `None` at the end.
    pub async fn block(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Ok(Some(block));
            }
            let Some(more) = self.answer.chunk().await? else { return Ok(None) };
            self.text.push_str(std::str::from_utf8(&more).expect("we send whole letters"));
        }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Told>, Error> {
        while let Some(block) = self.block().await? {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(id), Some(event), Some(data)) = (field("id: "), field("event: "), field("data: ")) {
                let data = serde_json::from_str(&data).expect("the data of an event is JSON");
                return Ok(Some(Told { id, event, data }));
            }
        }
        Ok(None)
    }
}
