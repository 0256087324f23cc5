//! Takes a request's body in, as it comes: held to its limit and its pace, unpacked, and a large one written to a
//! file, so that memory stays flat. What the bytes mean is not looked at.
//!
//! A body that is refused before its end is not read on. Its answer closes the connection, gently: see
//! [`answer_unread`].

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::{InternalError, PayloadError};
use actix_web::http::header::{self, HeaderMap};
use actix_web::{Error, HttpResponse, ResponseError};
use bytes::Bytes;
use ekiben_actors::body::Body;
use ekiben_actors::clock::stopwatch;
use ekiben_actors::spool::{BlobName, Blobs, Spool};
use ekiben_actors::task::TaskId;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use futures::{FutureExt, StreamExt};

use crate::app::Limits;
use crate::digest::Digester;
use crate::error::ApiError;

/// Takes in the body of a task to be, and adds it to the digest as it is kept.
///
/// # Errors
/// [`ApiError`]s about the body; nothing is left of it then.
pub async fn take_in(
    task: TaskId,
    headers: &HeaderMap,
    mut payload: Payload,
    blobs: &Blobs,
    limits: &Limits,
    digest: Option<&mut Digester>,
) -> Result<Body, Error> {
    match receive(task, headers, &mut payload, blobs, limits, digest).await {
        Ok(body) => Ok(body),
        Err(error) => Err(refusal_unread(error, payload)),
    }
}

/// The refusal of a request whose body was not read to its end.
pub fn refusal_unread(error: ApiError, unread: Payload) -> Error {
    let response = answer_unread(error.error_response(), unread);
    InternalError::from_response(error, response).into()
}

/// As [`take_in`], where the caller answers for what is left unread of the payload.
///
/// # Errors
/// Those about the body; nothing is left of it then.
pub async fn receive(
    task: TaskId,
    headers: &HeaderMap,
    payload: &mut Payload,
    blobs: &Blobs,
    limits: &Limits,
    mut digest: Option<&mut Digester>,
) -> Result<Body, ApiError> {
    let coding = Coding::of(headers)?;
    let declared = declared_len(headers);
    if declared.is_some_and(|declared| declared > limits.body) {
        return Err(ApiError::BodyTooLarge { limit: limits.body });
    }
    // The server calls a handler before it looks at the body. After this turn a small one is there, and no timer
    // need be set for it.
    tokio::task::yield_now().await;
    let mut incoming = Incoming { payload, limits, began: stopwatch(), received: 0, last: None };
    let Some(first) = incoming.next().await? else { return Ok(Body::default()) };
    let whole = declared == Some(first.len() as u64);
    if whole && coding.is_none() && first.len() <= blobs.inline_max() {
        if let Some(digest) = &mut digest {
            digest.add(&first);
        }
        // A copy, since the chunk is a part of the connection's buffer, which is much larger.
        return Ok(Body::Inline(Bytes::copy_from_slice(&first)));
    }
    let kept = Store { spool: blobs.spool(BlobName::Input(task), limits.body), digest };
    match coding {
        None => store(first, incoming, kept).await,
        Some(coding) => unpack(coding, first, incoming, kept).await,
    }
}

/// What the sender says of the length; the server holds it to its word.
fn declared_len(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Where the bytes go, unpacked.
struct Store<'a> {
    spool: Spool,
    digest: Option<&'a mut Digester>,
}

impl Store<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        if let Some(digest) = &mut self.digest {
            digest.add(bytes);
        }
        Ok(self.spool.write(bytes).await?)
    }
}

async fn store(first: Bytes, mut incoming: Incoming<'_>, mut store: Store<'_>) -> Result<Body, ApiError> {
    let mut next = Some(first);
    while let Some(chunk) = next {
        store.write(&chunk).await?;
        next = incoming.next().await?;
    }
    Ok(store.spool.finish().await?)
}

async fn unpack(
    coding: Coding,
    first: Bytes,
    mut incoming: Incoming<'_>,
    mut store: Store<'_>,
) -> Result<Body, ApiError> {
    let mut unpacker = Unpacker::new(coding);
    let mut next = Some(first);
    while let Some(chunk) = next {
        let mut packed = &chunk[..];
        while !packed.is_empty() {
            packed = unpacker.step(packed)?;
            store.write(unpacker.unpacked()).await?;
            unpacker.clear();
            // A small body may unpack to a large one: others on this thread get their turn.
            tokio::task::yield_now().await;
        }
        next = incoming.next().await?;
    }
    unpacker.end()?;
    store.write(unpacker.unpacked()).await?;
    Ok(store.spool.finish().await?)
}

// ---- pace ----

/// A body on its way, held to the limit and to a pace: first a time in which it need not hurry, then so many bytes a
/// second on average.
struct Incoming<'a> {
    payload: &'a mut Payload,
    limits: &'a Limits,
    began: Instant,
    received: u64,
    last: Option<Instant>,
}

impl Incoming<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let chunk = match self.payload.next().now_or_never() {
            Some(chunk) => chunk,
            None => {
                let deadline = self.deadline();
                let chunk = tokio::time::timeout_at(deadline.into(), self.payload.next()).await;
                chunk.map_err(|_| self.too_slow())?
            }
        };
        let Some(chunk) = chunk.transpose().map_err(broken)? else { return Ok(None) };
        self.received += chunk.len() as u64;
        if self.received > self.limits.body {
            return Err(ApiError::BodyTooLarge { limit: self.limits.body });
        }
        if self.limits.read_rate_min == 0 {
            self.last = Some(stopwatch());
        }
        Ok(Some(chunk))
    }

    /// Until when the next bytes must be here.
    fn deadline(&self) -> Instant {
        let grace = self.limits.read_timeout;
        match self.limits.read_rate_min {
            0 => self.last.unwrap_or(self.began) + grace,
            rate => self.began + grace + Duration::from_secs_f64(self.received as f64 / rate as f64),
        }
    }

    fn too_slow(&self) -> ApiError {
        let within = stopwatch().duration_since(self.began);
        ApiError::BodyTooSlow { received: self.received, within: Duration::from_secs(within.as_secs().max(1)) }
    }
}

/// The server cannot always tell which of the two it was.
fn broken(_: PayloadError) -> ApiError {
    ApiError::BodyBroken("it was cut short, or is not chunked as it should be")
}

// ---- codings ----

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// In zlib's form, as HTTP has it.
    Deflate,
}

impl Coding {
    /// The coding a body comes in; `None` for plain.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(named) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
        let several = headers.get_all(header::CONTENT_ENCODING).count() > 1;
        let name = String::from_utf8_lossy(named.as_bytes()).trim().to_ascii_lowercase();
        match name.as_str() {
            _ if several => Err(ApiError::Coding(format!("{name}, …"))),
            "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
            "deflate" => Ok(Some(Coding::Deflate)),
            "identity" | "" => Ok(None),
            _ => Err(ApiError::Coding(name)),
        }
    }
}

/// Unpacks a step at a time: what one step yields is bounded, whatever it was packed from.
enum Unpacker {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Unpacker {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Unpacker::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Unpacker::Deflate(ZlibDecoder::new(Vec::new())),
        }
    }

    /// Takes some of the bytes and answers with the rest.
    fn step<'a>(&mut self, packed: &'a [u8]) -> Result<&'a [u8], ApiError> {
        let taken = match self {
            Unpacker::Gzip(decoder) => decoder.write(packed),
            Unpacker::Deflate(decoder) => decoder.write(packed),
        };
        match taken {
            Ok(0) | Err(_) => Err(CORRUPT),
            Ok(taken) => Ok(&packed[taken..]),
        }
    }

    fn end(&mut self) -> Result<(), ApiError> {
        let ended = match self {
            Unpacker::Gzip(decoder) => decoder.try_finish(),
            Unpacker::Deflate(decoder) => decoder.try_finish(),
        };
        ended.map_err(|_| CORRUPT)
    }

    fn unpacked(&self) -> &[u8] {
        match self {
            Unpacker::Gzip(decoder) => decoder.get_ref(),
            Unpacker::Deflate(decoder) => decoder.get_ref(),
        }
    }

    fn clear(&mut self) {
        match self {
            Unpacker::Gzip(decoder) => decoder.get_mut().clear(),
            Unpacker::Deflate(decoder) => decoder.get_mut().clear(),
        }
    }
}

const CORRUPT: ApiError = ApiError::BodyBroken("it is not what its content-encoding says");

// ---- what is left unread ----

/// Answers a request whose body will not be read to its end. The answer holds the rest: as long as it does, the
/// server closes the connection behind the answer, but first reads on for a moment, so that a client in the middle
/// of sending sees the answer and not a reset. Let go of, a chunked body would be read for as long as it comes.
pub fn answer_unread(response: HttpResponse, unread: Payload) -> HttpResponse {
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(text) => BoxBody::new(Holding { text: Some(text), _unread: unread }),
        Err(body) => body,
    })
}

struct Holding {
    text: Option<Bytes>,
    _unread: Payload,
}

impl MessageBody for Holding {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(self.text.take().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn coding(named: &[&'static str]) -> Result<Option<Coding>, String> {
        let mut headers = HeaderMap::new();
        for name in named {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        Coding::of(&headers).map_err(|error| error.to_string())
    }

    #[test]
    fn the_codings_we_know_are_told_from_those_we_do_not() {
        assert_eq!(coding(&[]), Ok(None));
        assert_eq!((coding(&["identity"]), coding(&[""])), (Ok(None), Ok(None)));
        assert_eq!((coding(&["gzip"]), coding(&[" X-GZIP "])), (Ok(Some(Coding::Gzip)), Ok(Some(Coding::Gzip))));
        assert_eq!(coding(&["deflate"]), Ok(Some(Coding::Deflate)));
        for unknown in [&["br"][..], &["zstd"], &["gzip, deflate"], &["gzip", "identity"]] {
            assert!(coding(unknown).unwrap_err().ends_with("is not supported: send gzip, deflate or none"));
        }
    }

    /// How long after its beginning the next bytes of a body must be here.
    fn due_after(read_rate_min: u64, received: u64, last_after: Duration) -> Duration {
        let limits =
            Limits { body: 0, header_bytes: 0, read_timeout: 30 * SECOND, read_rate_min, sync_wait: Duration::ZERO };
        let (began, mut payload) = (stopwatch(), Payload::None);
        let last = Some(began + last_after);
        Incoming { payload: &mut payload, limits: &limits, began, received, last }.deadline() - began
    }

    #[test]
    fn a_body_has_its_grace_and_then_must_keep_its_rate() {
        assert_eq!(due_after(1000, 0, Duration::ZERO), 30 * SECOND);
        assert_eq!(due_after(1000, 5000, 20 * SECOND), 35 * SECOND);
        assert_eq!(due_after(u64::MAX, u64::MAX, Duration::ZERO), 31 * SECOND);
    }

    #[test]
    fn where_no_rate_is_asked_for_only_a_pause_counts() {
        assert_eq!(due_after(0, 0, Duration::ZERO), 30 * SECOND);
        assert_eq!(due_after(0, 1, 1000 * SECOND), 1030 * SECOND);
    }

    #[test]
    fn one_step_of_unpacking_yields_little_however_much_is_packed() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![0; 32 << 20]).unwrap();
        let packed = packer.finish().unwrap();
        let (mut unpacker, mut rest, mut sum) = (Unpacker::new(Coding::Gzip), packed.as_slice(), 0);
        while !rest.is_empty() {
            rest = unpacker.step(rest).unwrap();
            assert!(unpacker.unpacked().len() <= 128 << 10, "{}", unpacker.unpacked().len());
            sum += unpacker.unpacked().len();
            unpacker.clear();
        }
        unpacker.end().unwrap();
        assert_eq!(sum + unpacker.unpacked().len(), 32 << 20);
    }
}
