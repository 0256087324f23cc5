//! Finds the file in a `multipart/form-data` body (RFC 7578) as the body comes in, block by block.
//!
//! Written by hand because it must hold only a block at a time: the parsers at hand either gather all that is
//! ready before they look at it, or cannot leave their thread. Other parts than the file are skipped.

use super::Refusal;

/// The most bytes the headers of one part may have.
const PART_HEADERS_MAX: usize = 16 * 1024;

/// The longest boundary that RFC 2046 allows.
const BOUNDARY_MAX: usize = 70;

/// Takes the blocks of a body and gives out those bytes of them that are the file's.
pub struct FilePart {
    /// The name of the part that is taken even where it has no file name.
    name: &'static str,
    /// What ends a part: a line break, two hyphens, the boundary.
    delimiter: Vec<u8>,
    /// What was taken in and not understood yet.
    held: Vec<u8>,
    place: Place,
}

/// Where in the body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first part, or in one that is not the file.
    Elsewhere,
    PartHeaders,
    File,
    AfterFile,
    /// The last delimiter came, and no file before it.
    NoFile,
}

impl FilePart {
    /// Begins on a body of this content type. `None` if it is not multipart at all.
    pub fn of_type(content_type: &str, name: &'static str) -> Result<Option<Self>, Refusal> {
        let mut pieces = content_type.split(';').map(str::trim);
        if !pieces.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data")) {
            return Ok(None);
        }
        let boundary = pieces
            .filter_map(|piece| piece.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("boundary"))
            .map(|(_, value)| value.trim().trim_matches('"'))
            .ok_or_else(|| Refusal::new("the content type multipart/form-data has no boundary"))?;
        if !(1..=BOUNDARY_MAX).contains(&boundary.len()) {
            let len = boundary.len();
            return Err(Refusal(format!("a multipart boundary of {len} characters: 1 to {BOUNDARY_MAX} are allowed")));
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The line break before the first delimiter is left out where the body begins with it.
        Ok(Some(Self { name, delimiter, held: b"\r\n".to_vec(), place: Place::Elsewhere }))
    }

    /// Takes the next block of the body and appends the file's bytes in it.
    pub fn push(&mut self, block: &[u8], file: &mut Vec<u8>) -> Result<(), Refusal> {
        self.held.extend_from_slice(block);
        while self.advance(file)? {}
        Ok(())
    }

    /// The body has ended: that must have been after the file.
    pub fn finish(&self) -> Result<(), Refusal> {
        match self.place {
            Place::AfterFile => Ok(()),
            Place::NoFile => Err(Refusal(format!("the multipart body has no file part \"{}\"", self.name))),
            Place::Elsewhere | Place::PartHeaders | Place::File => {
                Err(Refusal::new("the multipart body is cut: its last boundary is missing"))
            }
        }
    }

    /// Makes one step through what is held; false where more is needed for the next.
    fn advance(&mut self, file: &mut Vec<u8>) -> Result<bool, Refusal> {
        match self.place {
            Place::Elsewhere => Ok(self.pass_content(Place::PartHeaders, |_| ())),
            Place::File => Ok(self.pass_content(Place::AfterFile, |bytes| file.extend_from_slice(bytes))),
            Place::PartHeaders => self.pass_headers(),
            Place::AfterFile | Place::NoFile => {
                self.held.clear();
                Ok(false)
            }
        }
    }

    /// Gives out the content up to the next delimiter and goes past it to `next`; without a delimiter, gives out
    /// what cannot be the beginning of one.
    fn pass_content(&mut self, next: Place, take: impl FnOnce(&[u8])) -> bool {
        if let Some(end) = find(&self.held, &self.delimiter) {
            take(&self.held[..end]);
            self.held.drain(..end + self.delimiter.len());
            self.place = next;
            return true;
        }
        let sure = self.held.len().saturating_sub(self.delimiter.len() - 1);
        take(&self.held[..sure]);
        self.held.drain(..sure);
        false
    }

    /// Goes past the headers of a part, which begin in the line of its delimiter and end with an empty one.
    fn pass_headers(&mut self) -> Result<bool, Refusal> {
        if self.held.starts_with(b"--") {
            self.place = Place::NoFile;
            return Ok(true);
        }
        let Some(end) = find(&self.held, b"\r\n\r\n") else {
            return match self.held.len() > PART_HEADERS_MAX {
                true => Err(Refusal(format!("the headers of a multipart part are over {PART_HEADERS_MAX} bytes"))),
                false => Ok(false),
            };
        };
        let is_file = is_file(&String::from_utf8_lossy(&self.held[..end]), self.name);
        self.held.drain(..end + 4);
        self.place = if is_file { Place::File } else { Place::Elsewhere };
        Ok(true)
    }
}

/// Whether a part with these headers has a file name, or the name we look for.
fn is_file(headers: &str, name: &str) -> bool {
    let disposition = headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(header, _)| header.trim().eq_ignore_ascii_case("content-disposition"));
    let Some((_, disposition)) = disposition else { return false };
    disposition.split(';').filter_map(|piece| piece.split_once('=')).any(|(key, value)| {
        let key = key.trim().to_ascii_lowercase();
        matches!(key.as_str(), "filename" | "filename*") || (key == "name" && value.trim().trim_matches('"') == name)
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"x1\"";

    /// The file in a body that comes in blocks of `size` bytes.
    fn file_in(body: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
        let mut part = FilePart::of_type(TYPE, "audio")?.expect("the type is multipart");
        let mut file = Vec::new();
        for block in body.chunks(size) {
            part.push(block, &mut file)?;
        }
        part.finish()?;
        Ok(file)
    }

    #[test]
    fn the_file_is_found_whole_however_the_body_is_cut_into_blocks() {
        let body = b"--x1\r\nContent-Disposition: form-data; name=\"level\"\r\n\r\n10\r\n\
            --x1\r\ncontent-disposition: form-data; name=\"sound\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
            RIFF\r\n--x \r\n--\0\r\n\r\n--x1\r\n\
            Content-Disposition: form-data; name=\"other\"; filename=\"b.wav\"\r\n\r\nsecond\r\n--x1--\r\n";
        for size in 1..body.len() {
            assert_eq!(file_in(body, size).unwrap(), b"RIFF\r\n--x \r\n--\0\r\n", "blocks of {size}");
        }
    }

    #[test]
    fn a_part_of_the_right_name_is_the_file_and_may_be_empty() {
        let body = b"preamble\r\n--x1 \r\nContent-Disposition: form-data; name=audio\r\n\r\n\r\n--x1--";
        assert_eq!(file_in(body, 7).unwrap(), b"");
    }

    #[test]
    fn what_is_not_multipart_is_somebody_elses() {
        for other in ["", "audio/wav", "multipart/mixed; boundary=x", "application/x-www-form-urlencoded"] {
            assert!(FilePart::of_type(other, "audio").unwrap().is_none(), "{other}");
        }
    }

    #[test]
    fn a_type_without_a_usable_boundary_is_refused() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(BOUNDARY_MAX + 1));
        for bad in ["multipart/form-data", "Multipart/Form-Data; boundary=", &long] {
            assert!(FilePart::of_type(bad, "audio").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_body_without_a_whole_file_is_refused() {
        let file = "--x1\r\nContent-Disposition: form-data; name=\"audio\"; filename=\"a\"\r\n\r\nRIFF";
        let endless_headers = format!("--x1\r\nX: {}", "y".repeat(2 * PART_HEADERS_MAX));
        let bodies = [
            ("", "cut"),
            ("no boundary at all", "cut"),
            ("--x1", "cut"),
            ("--x1\r\nContent-Disposition: form-data; name=\"audio\"", "cut"),
            (file, "cut"),
            ("--x1--\r\n", "no file part"),
            ("--x1\r\n\r\nnameless\r\n--x1--", "no file part"),
            (&endless_headers, "over 16384 bytes"),
        ];
        for (body, reason) in bodies {
            let refusal = file_in(body.as_bytes(), 100).unwrap_err().0;
            assert!(refusal.contains(reason), "{refusal} / {reason}");
        }
    }
}
