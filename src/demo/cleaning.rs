//! Cleans one WAV as it comes in, block by block.
//!
//! What comes out is the same file with other samples: the header, the chunks before and after the samples and
//! the length of everything are the input's, byte for byte. Memory does not grow with the file.

use super::suppress::Suppressor;
use super::wav::{self, Head, Header, Length};
use super::{Planes, Refusal};

/// The most bytes that may come before the samples: room for a picture and then some.
pub const HEAD_MAX: usize = 4 * 1024 * 1024;

/// A WAV being cleaned.
pub struct Cleaning {
    place: Place,
}

/// Where in the file we are.
enum Place {
    /// Before the samples: what came so far.
    Head(Vec<u8>),
    Samples(Box<Samples>),
    /// After the samples.
    Rest,
}

struct Samples {
    header: Header,
    suppressor: Suppressor,
    /// The beginning of a frame whose end has not come.
    cut_frame: Vec<u8>,
    /// Bytes of samples taken so far.
    taken: u64,
}

impl Cleaning {
    pub fn new() -> Self {
        Self { place: Place::Head(Vec::new()) }
    }

    /// Takes the next block of the file and appends what is clean by now.
    pub fn push(&mut self, mut block: &[u8], cleaned: &mut Vec<u8>) -> Result<(), Refusal> {
        while !block.is_empty() {
            block = self.advance(block, cleaned)?;
        }
        Ok(())
    }

    /// The file has ended: appends all that was still to come.
    pub fn finish(self, cleaned: &mut Vec<u8>) -> Result<(), Refusal> {
        match self.place {
            Place::Head(head) if head.is_empty() => Err(Refusal::new("no WAV file: the body is empty")),
            Place::Head(head) => {
                let len = head.len();
                Err(Refusal(format!("the WAV file is cut: it ends after {len} bytes, before its samples")))
            }
            Place::Samples(samples) => samples.finish(cleaned),
            Place::Rest => Ok(()),
        }
    }

    /// Takes the part of a block that belongs to the present place, and answers with what is left of it.
    fn advance<'block>(&mut self, block: &'block [u8], cleaned: &mut Vec<u8>) -> Result<&'block [u8], Refusal> {
        match &mut self.place {
            Place::Head(head) => {
                let before = head.len();
                head.extend_from_slice(block);
                let Head::Whole(header) = wav::read_head(head)? else {
                    return if head.len() > HEAD_MAX { Err(head_too_long()) } else { Ok(&[]) };
                };
                cleaned.extend_from_slice(&head[..header.samples_at]);
                self.place = Place::of(header);
                Ok(&block[header.samples_at - before..])
            }
            Place::Samples(samples) => {
                let own = usize::try_from(samples.left()).unwrap_or(usize::MAX).min(block.len());
                samples.push(&block[..own], cleaned);
                if samples.left() == 0 {
                    samples.finish_suppressing(cleaned);
                    self.place = Place::Rest;
                }
                Ok(&block[own..])
            }
            Place::Rest => {
                cleaned.extend_from_slice(block);
                Ok(&[])
            }
        }
    }
}

fn head_too_long() -> Refusal {
    Refusal(format!("a WAV whose samples do not begin in its first {HEAD_MAX} bytes: remove the chunks before them"))
}

impl Place {
    fn of(header: Header) -> Self {
        match header.samples_len {
            Length::Bytes(0) => Place::Rest,
            Length::Bytes(_) | Length::UntilTheEnd => Place::Samples(Box::new(Samples::new(header))),
        }
    }
}

impl Samples {
    fn new(header: Header) -> Self {
        let suppressor = Suppressor::new(header.format.rate, usize::from(header.format.channels));
        Self { header, suppressor, cut_frame: Vec::new(), taken: 0 }
    }

    /// Bytes of samples that have not come yet.
    fn left(&self) -> u64 {
        match self.header.samples_len {
            Length::Bytes(len) => len - self.taken,
            Length::UntilTheEnd => u64::MAX,
        }
    }

    fn push(&mut self, bytes: &[u8], cleaned: &mut Vec<u8>) {
        self.taken += bytes.len() as u64;
        self.cut_frame.extend_from_slice(bytes);
        let format = self.header.format;
        let whole = self.cut_frame.len() / format.frame_len() * format.frame_len();
        let mut noisy = Planes::new(usize::from(format.channels));
        format.encoding.decode(&self.cut_frame[..whole], &mut noisy);
        self.cut_frame.drain(..whole);
        format.encoding.encode(&self.suppressor.push(&mut noisy), cleaned);
    }

    /// Appends the sound that the suppressor still holds; it has none after that.
    fn finish_suppressing(&mut self, cleaned: &mut Vec<u8>) {
        self.header.format.encoding.encode(&self.suppressor.finish(), cleaned);
    }

    /// The file ends within its samples, which is well only where their length was left open.
    fn finish(mut self, cleaned: &mut Vec<u8>) -> Result<(), Refusal> {
        match self.header.samples_len {
            Length::Bytes(len) => {
                let taken = self.taken;
                Err(Refusal(format!("the WAV file is cut: it has {taken} of {len} bytes of samples")))
            }
            Length::UntilTheEnd if !self.cut_frame.is_empty() => {
                let (left, frame_len) = (self.cut_frame.len(), self.header.format.frame_len());
                Err(Refusal(format!("the WAV file is cut: it ends {left} bytes into a frame of {frame_len}")))
            }
            Length::UntilTheEnd => {
                self.finish_suppressing(cleaned);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::sample::{SampleOptions, noisy_wav};

    fn recording() -> Vec<u8> {
        noisy_wav(&SampleOptions { length: Duration::from_millis(10), ..SampleOptions::default() })
    }

    fn cleaned(file: &[u8], block: usize) -> Result<Vec<u8>, Refusal> {
        let (mut cleaning, mut cleaned) = (Cleaning::new(), Vec::new());
        for block in file.chunks(block) {
            cleaning.push(block, &mut cleaned)?;
        }
        cleaning.finish(&mut cleaned)?;
        Ok(cleaned)
    }

    #[test]
    fn the_result_is_the_same_however_the_file_is_cut_into_blocks() {
        let mut file = recording();
        file.extend(b"LIST\x04\0\0\0INFO");
        let whole = cleaned(&file, file.len()).unwrap();
        for block in [1, 2, 3, 43, 44, 45, 1000] {
            assert_eq!(cleaned(&file, block).unwrap(), whole, "blocks of {block}");
        }
    }

    #[test]
    fn any_byte_of_the_header_may_be_anything_and_the_file_is_cleaned_or_refused() {
        let recording = recording();
        for at in 0..44 {
            for byte in [0, 1, 24, 255] {
                let mut file = recording.clone();
                file[at] = byte;
                if let Ok(cleaned) = cleaned(&file, 500) {
                    assert_eq!(cleaned.len(), file.len(), "byte {at} is {byte}");
                }
            }
        }
    }
}
