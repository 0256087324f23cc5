//! The frames of the worker protocol: two lengths, a header, a body. What a header says is told in [`super::message`].
//!
//! A body is handed on in pieces as it comes, so that one of any size costs no memory here.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The fewest and the most bytes of a header.
const HEADER_LENGTHS: std::ops::RangeInclusive<u32> = 2..=1024 * 1024;

/// Bytes taken from the channel in one step.
const CHUNK: usize = 64 * 1024;

/// Why a channel cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("it sent a frame whose header would have {0} bytes, where 2 to 1048576 are allowed")]
    HeaderLength(u32),
    /// It ended in the middle of a frame, or was reset, as by a process that ends with something still to read.
    #[error("its channel broke: {0}")]
    Broken(#[from] io::Error),
}

/// Reads frames one after the other.
pub struct FrameReader<R> {
    source: BufReader<R>,
    /// Bytes of the current body that were not handed out yet.
    left: u32,
    /// Bytes handed out by the last call, still in the buffer.
    lent: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(source: R) -> Self {
        Self { source: BufReader::with_capacity(CHUNK, source), left: 0, lent: 0 }
    }

    /// The header of the next frame, passing over what is left of the body before it; `None` where the channel ended
    /// between two frames.
    ///
    /// # Errors
    /// A length that is not allowed, or a channel that broke or ended within a frame.
    pub async fn header(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        while self.chunk().await?.is_some() {}
        if self.source.fill_buf().await?.is_empty() {
            return Ok(None);
        }
        let header_length = self.source.read_u32_le().await?;
        let body_length = self.source.read_u32_le().await?;
        if !HEADER_LENGTHS.contains(&header_length) {
            return Err(FrameError::HeaderLength(header_length));
        }
        let mut header = vec![0; header_length as usize];
        self.source.read_exact(&mut header).await?;
        self.left = body_length;
        Ok(Some(header))
    }

    /// How many bytes of the current body are still to come.
    pub fn body_left(&self) -> u64 {
        u64::from(self.left)
    }

    /// The next bytes of the current body; `None` at its end.
    ///
    /// # Errors
    /// A channel that broke or ended within the body.
    pub async fn chunk(&mut self) -> Result<Option<&[u8]>, FrameError> {
        self.source.consume(std::mem::take(&mut self.lent));
        if self.left == 0 {
            return Ok(None);
        }
        let left = self.left as usize;
        let available = self.source.fill_buf().await?;
        if available.is_empty() {
            return Err(FrameError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let chunk = &available[..available.len().min(left)];
        self.lent = chunk.len();
        self.left -= u32::try_from(chunk.len()).expect("it is no longer than what is left");
        Ok(Some(chunk))
    }
}

/// What cannot be put into a frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    #[error("headers of {0} bytes are more than a worker can be sent, which is 1048576")]
    Header(usize),
    #[error("an input of {0} bytes is more than a worker can be sent, which is 4294967295")]
    Body(u64),
}

/// The lengths and the header of a frame; the body follows it on the channel.
///
/// # Errors
/// A header or a body that is longer than a frame can say.
pub fn frame_start(header: &[u8], body_length: u64) -> Result<Bytes, TooLong> {
    let header_length = u32::try_from(header.len()).ok().filter(|length| HEADER_LENGTHS.contains(length));
    let header_length = header_length.ok_or(TooLong::Header(header.len()))?;
    let body_length = u32::try_from(body_length).map_err(|_| TooLong::Body(body_length))?;
    let mut start = BytesMut::with_capacity(8 + header.len());
    start.put_u32_le(header_length);
    start.put_u32_le(body_length);
    start.put_slice(header);
    Ok(start.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
        [&frame_start(header, body.len() as u64).unwrap(), body].concat()
    }

    async fn body(reader: &mut FrameReader<&[u8]>) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = reader.chunk().await.unwrap() {
            body.extend_from_slice(chunk);
        }
        body
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let large = vec![7; 3 * CHUNK + 5];
        let channel = [frame(b"{}", b""), frame(br#"{"a":1}"#, &large), frame(b"[]", b"bento")].concat();
        let mut reader = FrameReader::new(&channel[..]);
        for (header, expected) in [(&b"{}"[..], &b""[..]), (br#"{"a":1}"#, &large), (b"[]", b"bento")] {
            assert_eq!(reader.header().await.unwrap().unwrap(), header);
            assert_eq!(reader.body_left(), expected.len() as u64);
            assert!(body(&mut reader).await == expected);
        }
        assert!(reader.header().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_is_passed_over() {
        let channel = [frame(b"{}", &vec![7; 2 * CHUNK]), frame(b"[]", b"bento")].concat();
        let mut reader = FrameReader::new(&channel[..]);
        reader.header().await.unwrap();
        reader.chunk().await.unwrap();
        assert_eq!(reader.header().await.unwrap().unwrap(), b"[]");
        assert_eq!(body(&mut reader).await, b"bento");
    }

    #[tokio::test]
    async fn a_header_out_of_bounds_is_refused_before_it_is_read() {
        for length in [0, 1, 1024 * 1024 + 1, u32::MAX] {
            let channel = [length.to_le_bytes(), [0; 4]].concat();
            let refused = FrameReader::new(&channel[..]).header().await.unwrap_err();
            assert!(matches!(refused, FrameError::HeaderLength(told) if told == length), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_channel_that_ends_within_a_frame_is_broken() {
        let whole = frame(b"{}", b"bento");
        for length in 1..whole.len() {
            let mut reader = FrameReader::new(&whole[..length]);
            let broken = match reader.header().await {
                Ok(_) => reader.header().await.unwrap_err(),
                Err(error) => error,
            };
            assert!(matches!(broken, FrameError::Broken(_)), "{length}: {broken}");
        }
    }

    #[test]
    fn what_does_not_fit_a_frame_is_refused() {
        assert_eq!(frame_start(&vec![b' '; 1024 * 1024 + 1], 0), Err(TooLong::Header(1024 * 1024 + 1)));
        assert_eq!(frame_start(b"{}", 1 << 32), Err(TooLong::Body(1 << 32)));
    }
}
