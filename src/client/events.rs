//! A stream of server-sent events, read one by one.
//!
//! What is read is what the HTML standard says of `text/event-stream`, without reconnecting: the caller does that,
//! with the id of the last event it saw.

use reqwest::Response;

use super::ClientError;

/// Most bytes of one event; a log line or a failure is far below.
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// The events of one answer, in their order.
#[derive(Debug)]
pub struct Events {
    answer: Response,
    server: String,
    parser: Parser,
}

/// One event, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// To resume after; the last one that was sent, where this event has none of its own.
    pub id: String,
    /// `message` where the stream does not say.
    pub kind: String,
    pub data: String,
}

impl Events {
    pub(super) fn new(answer: Response, server: String) -> Self {
        Self { answer, server, parser: Parser::default() }
    }

    /// The next event; `None` when the service has closed the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.parser.event() {
                return Ok(Some(event));
            }
            if self.parser.unread.len() > EVENT_MAX {
                let what = format!("an event of more than {EVENT_MAX} bytes");
                return Err(ClientError::Garbled { server: self.server.clone(), what });
            }
            match self.answer.chunk().await {
                Ok(Some(piece)) => self.parser.unread.extend_from_slice(&piece),
                Ok(None) => return Ok(None),
                Err(error) => {
                    let cause = super::causes(&error);
                    return Err(ClientError::Broken { server: self.server.clone(), cause });
                }
            }
        }
    }
}

/// Makes events of bytes, however they are cut.
#[derive(Debug, Default)]
struct Parser {
    unread: Vec<u8>,
    id: String,
    kind: String,
    data: Option<String>,
}

impl Parser {
    /// An event, once its last line is there.
    fn event(&mut self) -> Option<Event> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let kind = std::mem::take(&mut self.kind);
                // Without data there is no event: a heartbeat, or an id for later.
                let Some(data) = self.data.take() else { continue };
                let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                return Some(Event { id: self.id.clone(), kind, data });
            }
            self.field(line);
        }
        None
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.kind),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // A comment, which keeps the connection up, or a field of no concern to us.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = b": hello\n\nid: 1.0\nevent: started\ndata: {\"a\":1}\n\nid: 1.1\ndata: x\r\ndata: y\r\n\r\nid: 9\n\ndata:z\n\n";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in stream.chunks(size) {
                parser.unread.extend_from_slice(piece);
                events.extend(std::iter::from_fn(|| parser.event()));
            }
            let event =
                |id: &str, kind: &str, data: &str| Event { id: id.into(), kind: kind.into(), data: data.into() };
            let expected =
                [event("1.0", "started", "{\"a\":1}"), event("1.1", "message", "x\ny"), event("9", "message", "z")];
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }
}
