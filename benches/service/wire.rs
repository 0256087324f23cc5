//! As much of HTTP/1.1 as the benches speak: requests as ready bytes, answers by status line and `content-length`.
//!
//! It is no client for anything else: no chunked bodies, no redirects, no TLS. What it cannot read is an error.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The small JSON body that every workload sends, the echo's too.
pub const BODY: &str =
    r#"{"text":"a sentence as short as the ones that many small models are asked about","tokens":16}"#;

/// How long an answer may take before the server counts as stuck.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Digits of a task's id.
pub const ID_DIGITS: usize = 32;

/// The bytes of a POST of [`BODY`].
pub fn post(address: SocketAddr, path: &str) -> Vec<u8> {
    let length = BODY.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    (head + BODY).into_bytes()
}

/// The bytes of a GET.
pub fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes()
}

/// A whole answer at the beginning of what was received.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Reads the answer at the beginning of `received`; `None` while some of it is still to come.
///
/// # Errors
/// What is not an answer with a `content-length`.
pub fn parse(received: &[u8]) -> Result<Option<Answer<'_>>, String> {
    const HEAD_END: &[u8] = b"\r\n\r\n";
    let Some(head_length) = position(received, HEAD_END) else { return Ok(None) };
    let head = std::str::from_utf8(&received[..head_length]).map_err(|_| "the head of an answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let length = lines.find_map(content_length);
    let (Some(status), Some(length)) = (status, length) else {
        return Err(format!("an answer without status or content-length: {head:?}"));
    };
    let rest = &received[head_length + HEAD_END.len()..];
    Ok(rest.get(..length).map(|body| Answer { status, body }))
}

fn content_length(line: &str) -> Option<usize> {
    let (name, value) = line.split_once(':')?;
    if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
}

/// Where `wanted` begins in `bytes`.
pub fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A connection that asks one thing at a time and waits for the answer.
pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Self { address, stream, received: Vec::new() })
    }

    /// Asks for a path; answers status and body.
    pub fn get(&mut self, path: &str) -> Result<(u16, String), String> {
        self.stream.write_all(&get(self.address, path)).map_err(|error| format!("asking for {path}: {error}"))?;
        self.received.clear();
        loop {
            let mut chunk = [0; 16 << 10];
            let count = self.stream.read(&mut chunk).map_err(|error| format!("waiting for {path}: {error}"))?;
            if count == 0 {
                return Err(format!("the server hung up on {path}"));
            }
            self.received.extend_from_slice(&chunk[..count]);
            if let Some(answer) = parse(&self.received)? {
                return Ok((answer.status, String::from_utf8_lossy(answer.body).into_owned()));
            }
        }
    }
}
