//! Takes a body in line by line, however long it is: what is held in memory is a line at most, and a line has a limit.

use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use bytes::{Buf, Bytes, BytesMut};
use ekiben_actors::clock::stopwatch;

use super::{Coding, Incoming, Unpacker};
use crate::app::Limits;
use crate::error::ApiError;

/// A body on its way. Its pace is held to the limits, less the time that the reader of the lines takes.
pub struct Lines<'a> {
    incoming: Incoming<'a>,
    unpacker: Option<Unpacker>,
    /// What has come and is not unpacked yet.
    packed: Bytes,
    /// What has come and is not handed out yet.
    waiting: BytesMut,
    /// How far that has been searched for the end of a line.
    searched: usize,
    /// Bytes of a line.
    line_max: usize,
    /// How many lines were handed out or passed over.
    number: u64,
    /// When the reader was last handed something.
    handed_at: Instant,
    at_end: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line that is not blank, without its end.
    Line(Bytes),
    /// A line over the limit. It was passed over.
    TooLong,
    /// There is no more.
    End,
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl<'a> Lines<'a> {
    /// # Errors
    /// [`ApiError::Coding`]
    pub fn new(
        headers: &HeaderMap,
        payload: &'a mut Payload,
        limits: &'a Limits,
        line_max: usize,
    ) -> Result<Self, ApiError> {
        let now = stopwatch();
        Ok(Self {
            unpacker: Coding::of(headers)?.map(Unpacker::new),
            incoming: Incoming { payload, limits, began: now, received: 0, last: None },
            packed: Bytes::new(),
            waiting: BytesMut::new(),
            searched: 0,
            line_max,
            number: 0,
            handed_at: now,
            at_end: false,
        })
    }

    /// The number of the line that was last handed out or passed over, counted from 1, blank ones too.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// # Errors
    /// Those about the body: it is broken, or comes too slowly.
    pub async fn next(&mut self) -> Result<Next, ApiError> {
        let away = self.handed_at.elapsed();
        self.incoming.began += away;
        self.incoming.last = self.incoming.last.map(|last| last + away);
        let next = self.next_line().await;
        self.handed_at = stopwatch();
        next
    }

    async fn next_line(&mut self) -> Result<Next, ApiError> {
        let mut too_long = false;
        loop {
            if let Some(end) = self.end_of_line() {
                let mut line = self.waiting.split_to(end).freeze();
                self.waiting.advance(1.min(self.waiting.len()));
                self.searched = 0;
                self.number += 1;
                if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
                    line.advance(BYTE_ORDER_MARK.len());
                }
                match () {
                    () if too_long || line.len() > self.line_max => return Ok(Next::TooLong),
                    () if line.trim_ascii().is_empty() => continue,
                    () => return Ok(Next::Line(line)),
                }
            }
            if self.at_end {
                return Ok(if too_long { self.last_too_long() } else { Next::End });
            }
            if self.waiting.len() > self.line_max {
                // What it is does not matter any more; where it ends does.
                too_long = true;
                self.waiting.clear();
                self.searched = 0;
            }
            self.more().await?;
        }
    }

    fn last_too_long(&mut self) -> Next {
        self.number += 1;
        Next::TooLong
    }

    /// Where the first line ends that has come whole; the last one needs no sign of its end.
    fn end_of_line(&mut self) -> Option<usize> {
        let found = self.waiting[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = found.map(|at| self.searched + at);
        self.searched = self.waiting.len();
        end.or((self.at_end && !self.waiting.is_empty()).then_some(self.waiting.len()))
    }

    /// Waits for more of the body.
    async fn more(&mut self) -> Result<(), ApiError> {
        if self.packed.is_empty() {
            match self.incoming.next().await? {
                Some(chunk) => self.packed = chunk,
                None => {
                    self.at_end = true;
                    if let Some(unpacker) = &mut self.unpacker {
                        // A body of no bytes is not packed at all.
                        if self.incoming.received > 0 {
                            unpacker.end()?;
                        }
                        self.waiting.extend_from_slice(unpacker.unpacked());
                    }
                    return Ok(());
                }
            }
        }
        match &mut self.unpacker {
            None => self.waiting.extend_from_slice(&std::mem::take(&mut self.packed)),
            Some(unpacker) => {
                let left = unpacker.step(&self.packed)?.len();
                self.packed.advance(self.packed.len() - left);
                self.waiting.extend_from_slice(unpacker.unpacked());
                unpacker.clear();
                // A small body may unpack to a large one: others on this thread get their turn.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use actix_web::error::PayloadError;
    use actix_web::http::header::{CONTENT_ENCODING, HeaderValue};
    use futures::{StreamExt, stream};

    use super::*;

    const LIMITS: Limits = Limits {
        body: u64::MAX,
        header_bytes: 0,
        read_timeout: Duration::from_secs(30),
        read_rate_min: 0,
        sync_wait: Duration::ZERO,
    };

    /// Each line with its number, of a body that comes in chunks of some size; `…` for one that is too long.
    async fn lines_of(body: &[u8], chunk: usize, coding: Option<&'static str>) -> Vec<(u64, String)> {
        let chunks: Vec<Result<Bytes, PayloadError>> =
            body.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut payload = Payload::Stream { payload: stream::iter(chunks).boxed_local() };
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let mut lines = Lines::new(&headers, &mut payload, &LIMITS, 10).unwrap();
        let mut seen = Vec::new();
        loop {
            match lines.next().await.unwrap() {
                Next::Line(line) => seen.push((lines.number(), String::from_utf8(line.to_vec()).unwrap())),
                Next::TooLong => seen.push((lines.number(), "…".to_owned())),
                Next::End => return seen,
            }
        }
    }

    #[actix_web::test]
    async fn lines_come_whole_however_the_body_is_cut() {
        let body = "\u{feff}one\ntwo\r\n\n  \nmuch longer than ten\n0123456789\nlast".as_bytes();
        let expected = [(1, "one"), (2, "two\r"), (5, "…"), (6, "0123456789"), (7, "last")];
        let expected: Vec<(u64, String)> = expected.map(|(number, line)| (number, line.to_owned())).into();
        for chunk in [1, 2, 3, 7, 1000] {
            assert_eq!(lines_of(body, chunk, None).await, expected, "in chunks of {chunk}");
        }
    }

    #[actix_web::test]
    async fn a_packed_body_is_unpacked_on_the_way() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(b"one\ntwo\n").unwrap();
        let packed = packer.finish().unwrap();
        assert_eq!(lines_of(&packed, 3, Some("gzip")).await, [(1, "one".to_owned()), (2, "two".to_owned())]);
    }

    #[actix_web::test]
    async fn the_end_needs_no_sign_of_its_own() {
        assert_eq!(lines_of(b"", 1, None).await, []);
        assert_eq!(lines_of(b"\n\n", 1, None).await, []);
        assert_eq!(lines_of(b"far too long for a line", 4, None).await, [(1, "…".to_owned())]);
        assert_eq!(lines_of(b"far too long\n", 4, None).await, [(1, "…".to_owned())]);
    }
}
