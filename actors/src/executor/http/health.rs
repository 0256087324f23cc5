//! Asks an upstream that was away whether it is back, before a task is sent to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Url};

use super::template::Template;
use super::{HttpError, read_url, trouble};

/// How long an upstream may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Health {
    client: Client,
    url: Url,
    /// Whether the last that was heard of it was bad.
    away: AtomicBool,
}

impl Health {
    pub fn new(url: &str, client: Client) -> Result<Self, HttpError> {
        let url = read_url(&Template::read(url).map_err(HttpError::BadTemplate)?.sample())?;
        Ok(Self { client, url, away: AtomicBool::new(false) })
    }

    /// Notes how an attempt went.
    pub fn note(&self, went_well: bool) {
        self.away.store(!went_well, Ordering::Relaxed);
    }

    /// Asks, where the last that was heard was bad.
    ///
    /// # Errors
    /// Why it is not back yet.
    pub async fn is_back(&self) -> Result<(), String> {
        if !self.away.load(Ordering::Relaxed) {
            return Ok(());
        }
        let answered = self.client.get(self.url.clone()).timeout(PATIENCE).send().await;
        match answered.map_err(reqwest::Error::without_url) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("its health check answered {}", answer.status())),
            Err(error) if error.is_timeout() => Err(format!("its health check took longer than {PATIENCE:?}")),
            Err(error) => Err(format!("its health check failed: {}", trouble::root(&error))),
        }
    }
}
