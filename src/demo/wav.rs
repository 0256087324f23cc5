//! The WAV format, as far as cleaning one needs it: where the samples lie, how many channels and at which rate,
//! and samples from bytes and back.
//!
//! It never holds a file. The caller brings the beginning, and then the samples in blocks, so that a file of any
//! length costs the same memory; and all that is not a sample can be passed on byte for byte.

use super::{Planes, Refusal};

/// The highest value of 16-bit audio, and so full scale inside: the network was trained on such numbers.
const FULL_SCALE: f32 = 32_768.0;

/// Floats may go beyond full scale, by 24 dB. What is louder is cut off there: squared and summed inside the
/// network it could overflow, and one overflow silences all that follows.
const FLOAT_PEAK: f32 = 16.0 * FULL_SCALE;

/// Writers that cannot go back to fill in the length leave a huge one: ffmpeg all ones, SoX and arecord nearly
/// 2 GiB. From here on a length means "until the end".
const OPEN_ENDED: u32 = 0x7FFF_0000;

/// The sample rates taken, in hertz: telephones to ultrasound.
pub const RATE_MIN: u32 = 4_000;
pub const RATE_MAX: u32 = 384_000;

/// The most channels taken: each has a network of its own.
pub const CHANNELS_MAX: u16 = 64;

/// What precedes the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: Format,
    /// Where the samples begin in the file.
    pub samples_at: usize,
    pub samples_len: Length,
}

/// How many bytes of samples there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Bytes(u64),
    UntilTheEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub channels: u16,
    pub rate: u32,
    pub encoding: Encoding,
}

impl Format {
    /// The bytes of one frame: a sample of every channel.
    pub fn frame_len(&self) -> usize {
        self.encoding.sample_len() * usize::from(self.channels)
    }
}

/// How a sample is stored, always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
}

/// What the beginning of a file told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Whole(Header),
    /// The samples have not begun yet.
    Longer,
}

/// Reads the header from the beginning of a file, of which more may follow.
pub fn read_head(head: &[u8]) -> Result<Head, Refusal> {
    let begins_well = |mark: &[u8], at: usize| head.iter().skip(at).zip(mark).all(|(found, wanted)| found == wanted);
    if !begins_well(b"RIFF", 0) || !begins_well(b"WAVE", 8) {
        return Err(Refusal::new("not a WAV file: it does not begin with RIFF and WAVE; convert it to WAV first"));
    }
    let mut format = None;
    let mut at = 12;
    while let Some((name, len)) = chunk_header(head, at) {
        let content = at + 8;
        if name == *b"data" {
            let format = format.ok_or_else(|| Refusal::new("broken WAV: its samples come before its fmt chunk"))?;
            return Ok(Head::Whole(Header { format, samples_at: content, samples_len: samples_len(len, &format)? }));
        }
        if name == *b"fmt " {
            // A longer one than any known has nothing to tell us after its 40th byte.
            let Some(told) = head.get(content..content + (len as usize).min(40)) else { return Ok(Head::Longer) };
            format = Some(read_format(told)?);
        }
        // A chunk of odd length is followed by a byte of padding.
        at = content + len as usize + (len as usize & 1);
    }
    Ok(Head::Longer)
}

fn chunk_header(head: &[u8], at: usize) -> Option<([u8; 4], u32)> {
    let header = head.get(at..)?.first_chunk::<8>()?;
    let [name @ .., _, _, _, _] = *header;
    let [_, _, _, _, len @ ..] = *header;
    Some((name, u32::from_le_bytes(len)))
}

fn samples_len(len: u32, format: &Format) -> Result<Length, Refusal> {
    let frame_len = format.frame_len();
    if len >= OPEN_ENDED {
        Ok(Length::UntilTheEnd)
    } else if (len as usize).is_multiple_of(frame_len) {
        Ok(Length::Bytes(len.into()))
    } else {
        Err(Refusal(format!("broken WAV: {len} bytes of samples are not whole frames of {frame_len} bytes")))
    }
}

fn read_format(told: &[u8]) -> Result<Format, Refusal> {
    const EXTENSIBLE: u16 = 0xFFFE;
    let field = |at: usize| told.get(at..at + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let too_short = || Refusal(format!("broken WAV: a fmt chunk of {} bytes is too short", told.len()));

    let channels = field(2).ok_or_else(too_short)?;
    let rate = u32::from(field(4).ok_or_else(too_short)?) | u32::from(field(6).ok_or_else(too_short)?) << 16;
    let frame_len = field(12).ok_or_else(too_short)?;
    let bits = field(14).ok_or_else(too_short)?;
    let mut tag = field(0).ok_or_else(too_short)?;
    if tag == EXTENSIBLE {
        tag = field(24).ok_or_else(too_short)?;
    }

    let format = Format { channels, rate, encoding: encoding(tag, bits)? };
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(Refusal(format!("a WAV of {channels} channels: 1 to {CHANNELS_MAX} are taken")));
    }
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(Refusal(format!("a WAV of {rate} Hz: {RATE_MIN} to {RATE_MAX} are taken")));
    }
    if usize::from(frame_len) != format.frame_len() {
        let samples = format!("{channels} samples of {bits} bits");
        return Err(Refusal(format!("broken WAV: {samples} do not make a frame of {frame_len} bytes")));
    }
    Ok(format)
}

fn encoding(tag: u16, bits: u16) -> Result<Encoding, Refusal> {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    match (tag, bits) {
        (PCM, 1..=8) => Ok(Encoding::Unsigned8),
        (PCM, 9..=16) => Ok(Encoding::Signed16),
        (PCM, 17..=24) => Ok(Encoding::Signed24),
        (PCM, 25..=32) => Ok(Encoding::Signed32),
        (FLOAT, 32) => Ok(Encoding::Float32),
        (FLOAT, 64) => Ok(Encoding::Float64),
        _ => Err(Refusal(format!(
            "a WAV of format {tag:#06x} with {bits} bits a sample: PCM up to 32 bits and floats of 32 or 64 bits \
             are taken; convert it to PCM first"
        ))),
    }
}

impl Encoding {
    pub fn sample_len(self) -> usize {
        match self {
            Encoding::Unsigned8 => 1,
            Encoding::Signed16 => 2,
            Encoding::Signed24 => 3,
            Encoding::Signed32 | Encoding::Float32 => 4,
            Encoding::Float64 => 8,
        }
    }

    /// Appends whole frames of interleaved samples to the planes, scaled to 16-bit numbers.
    pub fn decode(self, frames: &[u8], planes: &mut Planes) {
        let channels = planes.channels();
        for (position, sample) in frames.chunks_exact(self.sample_len()).enumerate() {
            planes[position % channels].push(self.decode_sample(sample));
        }
    }

    /// Appends the frames of the planes, interleaved.
    pub fn encode(self, planes: &Planes, bytes: &mut Vec<u8>) {
        for frame in 0..planes.frames() {
            for plane in planes.iter() {
                self.encode_sample(plane[frame], bytes);
            }
        }
    }

    fn decode_sample(self, sample: &[u8]) -> f32 {
        match *sample {
            [byte] => (f32::from(byte) - 128.0) * 256.0,
            [a, b] => f32::from(i16::from_le_bytes([a, b])),
            [a, b, c] => i32::from_le_bytes([0, a, b, c]) as f32 / 65_536.0,
            [a, b, c, d] if self == Encoding::Float32 => from_float(f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d] => i32::from_le_bytes([a, b, c, d]) as f32 / 65_536.0,
            [a, b, c, d, e, f, g, h] => from_float(f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32),
            _ => unreachable!("a sample has the length of its encoding"),
        }
    }

    /// Rounds, and holds what is too loud at the highest value there is: a cast of a float does that.
    fn encode_sample(self, sample: f32, bytes: &mut Vec<u8>) {
        match self {
            Encoding::Unsigned8 => bytes.push(((sample / 256.0).round() + 128.0) as u8),
            Encoding::Signed16 => bytes.extend((sample.round() as i16).to_le_bytes()),
            Encoding::Signed24 => {
                let wide = (sample * 256.0).round().clamp(-8_388_608.0, 8_388_607.0) as i32;
                bytes.extend(&wide.to_le_bytes()[..3]);
            }
            Encoding::Signed32 => bytes.extend(((sample * 65_536.0).round() as i32).to_le_bytes()),
            Encoding::Float32 => bytes.extend((sample / FULL_SCALE).to_le_bytes()),
            Encoding::Float64 => bytes.extend(f64::from(sample / FULL_SCALE).to_le_bytes()),
        }
    }
}

/// What is not a number is silence.
fn from_float(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { (sample * FULL_SCALE).clamp(-FLOAT_PEAK, FLOAT_PEAK) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut chunk = name.to_vec();
        chunk.extend((content.len() as u32).to_le_bytes());
        chunk.extend(content);
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    }

    fn format_chunk(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let frame_len = channels.wrapping_mul(bits / 8);
        let mut content = Vec::new();
        content.extend(tag.to_le_bytes());
        content.extend(channels.to_le_bytes());
        content.extend(rate.to_le_bytes());
        content.extend((rate.wrapping_mul(frame_len.into())).to_le_bytes());
        content.extend(frame_len.to_le_bytes());
        content.extend(bits.to_le_bytes());
        chunk(b"fmt ", &content)
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut content = b"WAVE".to_vec();
        content.extend(chunks.concat());
        chunk(b"RIFF", &content)
    }

    fn header(file: &[u8]) -> Header {
        match read_head(file).unwrap() {
            Head::Whole(header) => header,
            Head::Longer => panic!("the header is not whole"),
        }
    }

    #[test]
    fn the_samples_are_found_behind_chunks_of_any_kind_and_odd_length() {
        let plain = format_chunk(1, 2, 44_100, 16);
        let file = file(&[chunk(b"LIST", b"odd"), plain, chunk(b"fact", &[0; 4]), chunk(b"data", &[1, 2, 3, 4])]);

        let header = header(&file);
        let format = Format { channels: 2, rate: 44_100, encoding: Encoding::Signed16 };
        assert_eq!((header.format, header.samples_len), (format, Length::Bytes(4)));
        assert_eq!(file[header.samples_at..], [1, 2, 3, 4]);
    }

    #[test]
    fn every_beginning_of_a_good_header_asks_for_more() {
        let file = file(&[chunk(b"JUNK", &[0; 28]), format_chunk(3, 1, 8_000, 32), chunk(b"data", &[])]);
        for cut in 0..file.len() {
            assert_eq!(read_head(&file[..cut]).unwrap(), Head::Longer, "cut at {cut}");
        }
        assert!(matches!(read_head(&file).unwrap(), Head::Whole(_)));
    }

    #[test]
    fn a_length_that_its_writer_never_filled_in_means_until_the_end() {
        for placeholder in [0xFFFF_FFFF_u32, 0x7FFF_FFFF, 0x7FFF_EFDC] {
            let mut file = file(&[format_chunk(1, 1, 16_000, 16), chunk(b"data", &[])]);
            let at = file.len() - 4;
            file[at..].copy_from_slice(&placeholder.to_le_bytes());
            assert_eq!(header(&file).samples_len, Length::UntilTheEnd, "{placeholder:#x}");
        }
    }

    #[test]
    fn what_cannot_be_cleaned_is_refused_and_the_reason_told() {
        let data = chunk(b"data", &[0; 12]);
        let refused = [
            (b"OggS and so on".to_vec(), "does not begin with RIFF"),
            (b"RIFF\x04\0\0\0AVI LIST".to_vec(), "does not begin with RIFF"),
            (file(std::slice::from_ref(&data)), "before its fmt chunk"),
            (file(&[chunk(b"fmt ", &[1, 0, 1]), data.clone()]), "too short"),
            (file(&[format_chunk(1, 0, 16_000, 16), data.clone()]), "0 channels"),
            (file(&[format_chunk(1, 65, 16_000, 16), data.clone()]), "65 channels"),
            (file(&[format_chunk(1, 1, 0, 16), data.clone()]), "0 Hz"),
            (file(&[format_chunk(1, 1, u32::MAX, 16), data.clone()]), "4294967295 Hz"),
            (file(&[format_chunk(2, 1, 16_000, 4), data.clone()]), "format 0x0002 with 4 bits"),
            (file(&[format_chunk(0xFFFE, 1, 16_000, 16), data.clone()]), "too short"),
            (file(&[format_chunk(1, 1, 16_000, 12), data.clone()]), "do not make a frame"),
            (file(&[format_chunk(1, 1, 16_000, 64), data.clone()]), "64 bits"),
            (file(&[format_chunk(1, 5, 16_000, 16), data]), "not whole frames of 10"),
        ];
        for (file, reason) in refused {
            let refusal = read_head(&file).unwrap_err().0;
            assert!(refusal.contains(reason), "{refusal} / {reason}");
        }
    }

    #[test]
    fn samples_survive_the_way_in_and_out_in_every_encoding() {
        let encodings =
            [Encoding::Unsigned8, Encoding::Signed16, Encoding::Signed24, Encoding::Float32, Encoding::Float64];
        for encoding in encodings {
            let mut planes = Planes::new(2);
            for sample in [-32_768.0, -256.0, 0.0, 256.0, 32_512.0] {
                planes[0].push(sample);
                planes[1].push(-sample / 2.0);
            }
            let (mut bytes, mut back) = (Vec::new(), Planes::new(2));
            encoding.encode(&planes, &mut bytes);
            encoding.decode(&bytes, &mut back);
            let bound = if encoding == Encoding::Unsigned8 { 128.0 } else { 0.0 };
            for (sent, returned) in planes.iter().flatten().zip(back.iter().flatten()) {
                assert!((sent - returned).abs() <= bound, "{encoding:?}: {sent} came back as {returned}");
            }
        }
    }

    #[test]
    fn what_is_too_loud_or_not_a_number_stays_within_bounds() {
        let encodings = [Encoding::Unsigned8, Encoding::Signed16, Encoding::Signed24, Encoding::Signed32];
        for encoding in encodings {
            let (mut loud, mut bytes, mut back) = (Planes::new(1), Vec::new(), Planes::new(1));
            loud[0].extend([1e9, -1e9]);
            encoding.encode(&loud, &mut bytes);
            encoding.decode(&bytes, &mut back);
            assert!(back[0][0] >= 32_512.0 && back[0][1] == -32_768.0, "{encoding:?}: {:?}", back[0]);
        }
        let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
        let mut planes = Planes::new(1);
        Encoding::Float32.decode(&strange.map(f32::to_le_bytes).concat(), &mut planes);
        assert_eq!(*planes[0], [0.0, FLOAT_PEAK, -FLOAT_PEAK, FLOAT_PEAK]);
    }
}
