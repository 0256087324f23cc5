//! A server for what no proper server does: cut answers, garbage, hanging up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A server that answers every request with the same bytes, whatever they are, and hangs up.
pub struct Crude {
    pub url: String,
    /// Hears of every connection once it is closed.
    pub closed: UnboundedReceiver<()>,
}

impl Crude {
    pub fn answering(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, closed) = unbounded_channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                if tell.is_closed() {
                    return;
                }
                let (mut connection, tell) = (connection.unwrap(), tell.clone());
                // Each on a thread of its own: a client may open one that it then has no use for.
                thread::spawn(move || {
                    read_request(&connection);
                    connection.write_all(answer).unwrap();
                    drop(connection);
                    // The test may have ended.
                    let _ = tell.send(());
                });
            }
        });
        Self { url, closed }
    }
}

/// Reads one request to its end, so that closing the connection does not reset it.
fn read_request(connection: &TcpStream) {
    let mut reader = BufReader::new(connection);
    let mut body_len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(len) = line.strip_prefix("content-length:") {
            body_len = len.trim().parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; body_len]).unwrap();
}
