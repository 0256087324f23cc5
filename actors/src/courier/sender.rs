//! One request of a webhook: signed, to an address that was checked, with no redirect followed and no proxy asked.
//!
//! An address is checked between looking up the name and connecting, and the connection goes to that very address: a
//! name that leads elsewhere the next moment gains nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response};
use tokio::time::timeout;
use url::Url;

use crate::executor::http::{root, trusting_as_the_machine};
use crate::task::Timestamp;
use crate::webhook::{Allowed, Forbidden, Parcel, Secret, read_url, signatures};

/// How much of the body of an answer is looked at, for the log.
const ANSWER_BYTES: usize = 300;

/// How many clients are kept, a client for each port: whoever names many ports makes us set up new ones.
const CLIENTS_KEPT: usize = 32;

/// How long a connection stays open with nothing to do.
const IDLE_CONNECTION_MAX: Duration = Duration::from_millis(1500);

const USER_AGENT: &str = concat!("ekiben/", env!("CARGO_PKG_VERSION"));

/// Why a message was not taken.
#[derive(Debug)]
pub enum Trouble {
    /// With a status that is not 2xx.
    Answered {
        status: u16,
        said: String,
    },
    Unanswered(String),
}

impl Trouble {
    fn unanswered(why: impl ToString) -> Self {
        Trouble::Unanswered(why.to_string())
    }
}

/// See the module's own words.
pub struct Sender {
    allowed: Arc<Allowed>,
    timeout: Duration,
    /// By port and by whether it is for https: what looks up a name is told no port.
    clients: Mutex<HashMap<(u16, bool), Client>>,
}

impl Sender {
    pub fn new(allowed: Allowed, timeout: Duration) -> Self {
        Self { allowed: Arc::new(allowed), timeout, clients: Mutex::default() }
    }

    /// Makes one try and answers with the status, if it is one of success.
    pub async fn post(&self, parcel: &Parcel, at: Timestamp, secrets: &[Secret]) -> Result<u16, Trouble> {
        let trying = self.try_to_post(parcel, at, secrets);
        let late = |_| Trouble::Unanswered(format!("no answer within {:?}", self.timeout));
        timeout(self.timeout, trying).await.map_err(late)?
    }

    async fn try_to_post(&self, parcel: &Parcel, at: Timestamp, secrets: &[Secret]) -> Result<u16, Trouble> {
        // Once more: what is allowed may have changed since the submission.
        let url = read_url(&parcel.url, &self.allowed).map_err(Trouble::unanswered)?;
        let client = self.client_for(&url)?;
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", parcel.id.to_string())
            .header("webhook-timestamp", at.timestamp().to_string())
            .header("webhook-signature", signatures(secrets, parcel.id, at, &parcel.body));
        let traceparent = parcel.traceparent.as_deref().and_then(|value| HeaderValue::from_str(value).ok());
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let sent = request.body(parcel.body.clone()).send().await;
        let response = sent.map_err(|error| Trouble::unanswered(root(&error.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(status.as_u16());
        }
        Err(Trouble::Answered { status: status.as_u16(), said: said(response).await })
    }

    fn client_for(&self, url: &Url) -> Result<Client, Trouble> {
        let port = url.port_or_known_default().expect("http and https have known ports");
        let is_https = url.scheme() == "https";
        let mut clients = self.clients.lock().expect("nobody panics while holding them");
        if let Some(client) = clients.get(&(port, is_https)) {
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS_KEPT {
            clients.clear();
        }
        let client = self.new_client(url, port)?;
        clients.insert((port, is_https), client.clone());
        Ok(client)
    }

    fn new_client(&self, url: &Url, port: u16) -> Result<Client, Trouble> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_gzip()
            .no_deflate()
            .dns_resolver(Checked { allowed: self.allowed.clone(), port })
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            .user_agent(HeaderValue::from_static(USER_AGENT));
        let client = trusting_as_the_machine(client, url).map_err(Trouble::unanswered)?;
        client.build().map_err(|error| Trouble::unanswered(root(&error)))
    }
}

/// Looks up names, and tells those of their addresses that may be called on the port.
struct Checked {
    allowed: Arc<Allowed>,
    port: u16,
}

/// There is a name, but nothing behind it.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no address")]
struct NoAddress(String);

#[derive(Debug, thiserror::Error)]
#[error("{name} could not be looked up: {reason}")]
struct NotLookedUp {
    name: String,
    reason: std::io::Error,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, port) = (self.allowed.clone(), self.port);
        Box::pin(async move {
            let name = name.as_str();
            let found = tokio::net::lookup_host((name, port)).await;
            let found = found.map_err(|reason| NotLookedUp { name: name.to_owned(), reason })?;
            let checked = permitted(found, name, port, &allowed)?;
            let addresses = checked.ok_or_else(|| NoAddress(name.to_owned()))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Those of a name's addresses that may be called; the refusal of the first where none may, `None` where there is none.
fn permitted(
    found: impl Iterator<Item = SocketAddr>,
    name: &str,
    port: u16,
    allowed: &Allowed,
) -> Result<Option<Vec<SocketAddr>>, Forbidden> {
    let mut permitted = Vec::new();
    let mut refusal = None;
    for address in found {
        match allowed.check(address.ip(), port, Some(name)) {
            Ok(()) => permitted.push(address),
            Err(forbidden) => refusal = refusal.or(Some(forbidden)),
        }
    }
    match (permitted.is_empty(), refusal) {
        (false, _) => Ok(Some(permitted)),
        (true, Some(forbidden)) => Err(forbidden),
        (true, None) => Ok(None),
    }
}

/// The beginning of what an answer says, and where it points, for the log.
async fn said(mut response: Response) -> String {
    let status = response.status();
    let mut said = format!("it answered {status}");
    if status.is_redirection() {
        said.push_str("; redirects are not followed");
    }
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        // What cannot be read is not worth a word: the status says enough.
        let Ok(Some(chunk)) = response.chunk().await else { break };
        bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - bytes.len())]);
    }
    let text = String::from_utf8_lossy(&bytes).replace(char::is_control, " ");
    let text = text.trim();
    if !text.is_empty() {
        said.push_str(": ");
        said.push_str(text);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_names_addresses_only_those_that_may_be_called_are_told() {
        let addresses = ["127.0.0.1:80", "8.8.8.8:80", "[::1]:80"].map(|address| address.parse().unwrap());
        let of = |addresses: &[SocketAddr], allowed: &Allowed| {
            permitted(addresses.iter().copied(), "example.com", 80, allowed)
        };
        assert_eq!(of(&addresses, &Allowed::default()), Ok(Some(vec![addresses[1]])));
        assert_eq!(of(&addresses, &Allowed::read(["::1"]).unwrap()), Ok(Some(vec![addresses[1], addresses[2]])));
        let refusal = of(&addresses[..1], &Allowed::default()).unwrap_err();
        assert!(refusal.to_string().starts_with("example.com is at 127.0.0.1"), "{refusal}");
        assert_eq!(of(&[], &Allowed::default()), Ok(None));
    }
}
