//! The headers of the frames: what a worker says and what we say, as `clients/PROTOCOL.md` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::task::Level;

/// The version of the protocol that is spoken here.
pub const VERSION: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    Hello(Hello),
    Progress {
        id: u64,
        fraction: Option<f32>,
        message: Option<String>,
        counters: Option<BTreeMap<String, f64>>,
    },
    Log {
        id: u64,
        level: Level,
        message: String,
    },
    Done {
        id: u64,
        status: Option<u16>,
        headers: Option<Vec<(String, String)>>,
    },
    Failed {
        id: u64,
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
        status: Option<u16>,
        headers: Option<Vec<(String, String)>>,
    },
    Canceled {
        id: u64,
    },
}

/// How a worker introduces itself, once it is ready to work.
#[derive(Clone, Debug, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    #[serde(default)]
    pub client: String,
    pub concurrency: usize,
    pub tasks: Vec<Offer>,
}

/// A task that a worker can run.
#[derive(Clone, Debug, Deserialize)]
pub struct Offer {
    pub name: String,
    pub description: Option<String>,
    pub input: Option<Value>,
    pub output: Option<Value>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker<'a> {
    Run {
        id: u64,
        task: &'a str,
        task_id: String,
        endpoint: &'a str,
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        headers: Vec<(&'a str, &'a str)>,
    },
    Cancel {
        id: u64,
    },
    Exit,
}

impl ToWorker<'_> {
    pub fn header(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> FromWorker {
        serde_json::from_str(header).unwrap()
    }

    #[test]
    fn what_may_be_left_out_may_be_left_out_and_what_is_unknown_is_ignored() {
        let hello = read(r#"{"type":"hello","protocol":1,"concurrency":2,"tasks":[{"name":"a"}],"mood":"good"}"#);
        assert!(matches!(hello, FromWorker::Hello(Hello { concurrency: 2, .. })), "{hello:?}");
        let done = read(r#"{"type":"done","id":7}"#);
        assert!(matches!(done, FromWorker::Done { id: 7, status: None, headers: None }), "{done:?}");
        let progress = read(r#"{"type":"progress","id":7,"fraction":null,"counters":{"tokens":3}}"#);
        let FromWorker::Progress { id: 7, fraction: None, message: None, counters: Some(counters) } = progress else {
            panic!("{progress:?}")
        };
        assert_eq!(counters["tokens"], 3.0);
        let failed = read(r#"{"type":"failed","id":7}"#);
        assert!(matches!(failed, FromWorker::Failed { id: 7, status: None, .. }), "{failed:?}");
    }

    #[test]
    fn what_we_say_is_what_the_protocol_has() {
        assert_eq!(ToWorker::Exit.header(), br#"{"type":"exit"}"#);
        assert_eq!(ToWorker::Cancel { id: 7 }.header(), br#"{"type":"cancel","id":7}"#);
    }
}
