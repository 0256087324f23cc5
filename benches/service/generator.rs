//! The load generator: some connections, one request outstanding on each, all on one thread.
//!
//! It shares the machine's cores with what it measures, so it does as little as it can: an answer costs one
//! read, one write and one look at the clock. A latency is counted from the write of a request to the moment
//! its answer was read whole, the time it waited for this thread included.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ekiben_actors::clock::stopwatch;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::wire::{SILENCE_MAX, parse};

/// What a run asks, and what it makes of the answers.
pub trait Script {
    /// The bytes of the next request; `None` when there is nothing left to ask.
    fn next(&mut self, now: Instant) -> Option<&[u8]>;

    /// Takes the body of an answer with status 200; false when it is not what it should be.
    fn take(&mut self, body: &[u8]) -> bool;
}

/// What came of a run.
#[derive(Default)]
pub struct Tally {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds, one an answer, in no order that matters.
    pub latencies: Vec<u64>,
    /// Answers that had another status than 200 or another body than expected.
    pub refused: u64,
    pub first_refusal: Option<String>,
}

struct Connection {
    stream: TcpStream,
    sent_at: Instant,
    received: Vec<u8>,
    filled: usize,
}

/// Connections that wait to be used.
pub struct Generator {
    poll: Poll,
    connections: Vec<Connection>,
}

impl Generator {
    /// Opens the connections, before any clock starts.
    pub fn connect(address: SocketAddr, connections: usize) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let mut opened = Vec::with_capacity(connections);
        for number in 0..connections {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            opened.push(Connection { stream, sent_at: stopwatch(), received: vec![0; 4 << 10], filled: 0 });
        }
        Ok(Self { poll, connections: opened })
    }

    /// Asks on every connection until the script has nothing left to ask and all has been answered.
    ///
    /// # Errors
    /// A connection that breaks, an answer that cannot be read, a server that falls silent.
    pub fn run(&mut self, script: &mut impl Script) -> Result<Tally, String> {
        let mut tally = Tally::default();
        let began = stopwatch();
        let mut outstanding = 0;
        for connection in &mut self.connections {
            outstanding += usize::from(connection.ask(script, stopwatch())?);
        }
        let mut events = Events::with_capacity(self.connections.len());
        while outstanding > 0 {
            self.poll.poll(&mut events, Some(SILENCE_MAX)).map_err(|error| format!("waiting for answers: {error}"))?;
            if events.is_empty() {
                return Err(format!("no answer for {SILENCE_MAX:?} with {outstanding} requests outstanding"));
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                let Some(now) = connection.read_answer(script, &mut tally)? else { continue };
                outstanding -= usize::from(!connection.ask(script, now)?);
            }
        }
        tally.elapsed = began.elapsed();
        Ok(tally)
    }
}

impl Connection {
    /// Sends the script's next request; false when there is none.
    fn ask(&mut self, script: &mut impl Script, now: Instant) -> Result<bool, String> {
        let Some(request) = script.next(now) else { return Ok(false) };
        // Nothing else is on its way on this connection, so the kernel has room for all of a small request.
        match self.stream.write(request) {
            Ok(count) if count == request.len() => {}
            Ok(count) => return Err(format!("only {count} bytes of a request could be sent")),
            Err(error) => return Err(format!("sending a request: {error}")),
        }
        self.sent_at = now;
        Ok(true)
    }

    /// Reads until the answer is whole and says when that was; `None` when the rest of it is still to come.
    fn read_answer(&mut self, script: &mut impl Script, tally: &mut Tally) -> Result<Option<Instant>, String> {
        loop {
            if self.filled == self.received.len() {
                self.received.resize(2 * self.filled, 0);
            }
            match self.stream.read(&mut self.received[self.filled..]) {
                Ok(0) => return Err("the server hung up".to_owned()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(format!("reading an answer: {error}")),
            }
            let received = &self.received[..self.filled];
            let Some(answer) = parse(received)? else { continue };
            let now = stopwatch();
            let latency = now.duration_since(self.sent_at).as_nanos();
            tally.latencies.push(u64::try_from(latency).unwrap_or(u64::MAX));
            if answer.status != 200 || !script.take(answer.body) {
                tally.refused += 1;
                tally.first_refusal.get_or_insert_with(|| String::from_utf8_lossy(received).into_owned());
            }
            self.filled = 0;
            return Ok(Some(now));
        }
    }
}
