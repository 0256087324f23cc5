//! A page of the upstream: what it says of itself, rather than of a task.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;

use super::{Http, Upstream, trouble};

/// Why a page could not be had. It names the upstream's host, never its URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PageError(String);

impl Http {
    /// Asks for the page at the URL, with the method of the options; GET is the usual one. Only the whole page
    /// within `patience` and of at most `limit` bytes, with status 200, is good enough.
    ///
    /// # Errors
    /// The page could not be had.
    pub async fn page(&self, patience: Duration, limit: usize) -> Result<Bytes, PageError> {
        let page = tokio::time::timeout(patience, self.upstream.page(limit)).await;
        page.unwrap_or_else(|_| Err(PageError(format!("{} did not answer within {patience:?}", self.upstream.host))))
    }
}

impl Upstream {
    async fn page(&self, limit: usize) -> Result<Bytes, PageError> {
        let host = &self.host;
        let broken = |error: reqwest::Error| {
            PageError(format!("{host} could not be reached: {}", trouble::root(&error.without_url())))
        };
        let mut request = self.client.request(self.method.clone(), self.url.clone());
        for (name, template) in &self.headers {
            request = request.header(name, template.sample());
        }
        let mut response = request.send().await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(PageError(format!("{host} answered {} for {}", response.status(), self.url.path())));
        }
        let mut page = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if page.len() + chunk.len() > limit {
                return Err(PageError(format!("{host} answered more than {limit} bytes for {}", self.url.path())));
            }
            page.extend_from_slice(&chunk);
        }
        Ok(page.freeze())
    }
}
