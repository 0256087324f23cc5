//! How JSON inputs become one, and how one JSON output becomes many. Values pass through as they were written.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::spool;
use crate::task::{FailureCode, Headers, Input, Outcome, Output};

/// What a batch looks like to whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A list of the inputs; the output is a list with one result for each, in their order.
    List,
    /// The inputs are objects of lists, as those of BentoML's batchable methods are: the lists of a name are joined.
    /// The output is a list, or an object of lists, that is cut by how long each input's lists were.
    Fields,
}

/// Headers that differ from task to task and mean nothing to the work.
const OF_ONE_TASK: [&str; 2] = ["traceparent", "tracestate"];

/// An input as a part of a batch.
pub struct Piece {
    headers: Headers,
    len: usize,
    content: Content,
}

enum Content {
    Whole(Bytes),
    Lists { lists: BTreeMap<String, Vec<Box<RawValue>>>, each: usize },
}

impl Piece {
    /// Reads an input.
    ///
    /// # Errors
    /// The failure of one that cannot be a part of a batch of that form.
    pub async fn of(input: &Input, form: Form) -> Result<Self, Outcome> {
        let bytes = spool::whole(input.body.clone()).await.map_err(|error| {
            Outcome::failed(FailureCode::Failed, format!("the stored input could not be read: {error}"))
        })?;
        let content = match form {
            Form::List => {
                serde_json::from_slice::<&RawValue>(&bytes)
                    .map_err(|error| refused(&format!("is not JSON: {error}")))?;
                Content::Whole(bytes.clone())
            }
            Form::Fields => lists(&bytes)?,
        };
        let mut headers = Headers::new();
        for (name, value) in input.headers.iter().filter(|(name, _)| !OF_ONE_TASK.contains(name)) {
            headers.add(name, value);
        }
        Ok(Self { headers, len: bytes.len(), content })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Of how many entries of an output's lists its part is made.
    pub fn shares(&self) -> usize {
        match &self.content {
            Content::Whole(_) => 1,
            Content::Lists { each, .. } => *each,
        }
    }

    /// Whether both can be in one batch.
    pub fn goes_with(&self, other: &Piece) -> bool {
        let same_names = match (&self.content, &other.content) {
            (Content::Lists { lists: ours, .. }, Content::Lists { lists: theirs, .. }) => ours.keys().eq(theirs.keys()),
            (Content::Whole(_), Content::Whole(_)) => true,
            _ => false,
        };
        same_names && self.headers == other.headers
    }
}

fn refused(why: &str) -> Outcome {
    Outcome::explained(FailureCode::BadInput, 400, format!("the input of a batched endpoint {why}"))
}

fn lists(bytes: &Bytes) -> Result<Content, Outcome> {
    let lists: BTreeMap<String, Vec<Box<RawValue>>> =
        serde_json::from_slice(bytes).map_err(|error| refused(&format!("is not an object of lists: {error}")))?;
    let lengths: Vec<usize> = lists.values().map(Vec::len).collect();
    match lengths.first() {
        Some(each) if *each > 0 && lengths.iter().all(|length| length == each) => {
            Ok(Content::Lists { each: *each, lists })
        }
        _ => Err(refused("needs lists that are all of one length, and not empty")),
    }
}

/// The pieces as one body. They go with each other.
pub fn merged(pieces: &[&Piece], form: Form) -> Bytes {
    match form {
        Form::List => {
            let wholes = pieces.iter().map(|piece| match &piece.content {
                Content::Whole(bytes) => &bytes[..],
                Content::Lists { .. } => unreachable!("pieces are read in the form of their batch"),
            });
            [b"[", &*wholes.collect::<Vec<_>>().join(&b','), b"]"].concat().into()
        }
        Form::Fields => {
            let mut joined: BTreeMap<&str, Vec<&RawValue>> = BTreeMap::new();
            for piece in pieces {
                let Content::Lists { lists, .. } = &piece.content else {
                    unreachable!("pieces are read in the form of their batch")
                };
                for (name, list) in lists {
                    joined.entry(name).or_default().extend(list.iter().map(|entry| &**entry));
                }
            }
            serde_json::to_vec(&joined).expect("JSON that was read can be written").into()
        }
    }
}

/// What an output may be made of.
enum Parts {
    List(Vec<Box<RawValue>>),
    Fields(BTreeMap<String, Vec<Box<RawValue>>>),
}

/// An output cut into parts, of as many entries as each has shares.
///
/// # Errors
/// The failure of an output that cannot be cut so.
pub async fn parts(output: Output, shares: &[usize], form: Form) -> Result<Vec<Output>, Outcome> {
    let Output { status, headers, body } = output;
    // Its file, if it has one, is gone before a part gets that name.
    let read = spool::whole(body).await;
    let bytes = read.map_err(|error| Outcome::failed(FailureCode::Failed, format!("the output was lost: {error}")))?;
    let bad = |why: String| Outcome::failed(FailureCode::BadOutput, format!("the output of the batch {why}"));
    let whole = read_parts(&bytes).map_err(|error| bad(format!("is not JSON that can be cut: {error}")))?;
    let wanted: usize = shares.iter().sum();
    let cut = |list: Vec<Box<RawValue>>| {
        let found = list.len();
        let mut rest = list.into_iter();
        let parts: Vec<Vec<_>> = shares.iter().map(|share| rest.by_ref().take(*share).collect()).collect();
        if found == wanted { Ok(parts) } else { Err(bad(format!("has {found} results for {wanted}"))) }
    };
    let bodies: Vec<Vec<u8>> = match (whole, form) {
        (Parts::List(list), Form::List) => {
            cut(list)?.into_iter().map(|part| part[0].get().as_bytes().to_vec()).collect()
        }
        (Parts::List(list), Form::Fields) => cut(list)?.iter().map(written).collect(),
        (Parts::Fields(lists), Form::Fields) => {
            let mut fields: Vec<BTreeMap<String, Vec<Box<RawValue>>>> = vec![BTreeMap::new(); shares.len()];
            for (name, list) in lists {
                for (field, part) in fields.iter_mut().zip(cut(list)?) {
                    field.insert(name.clone(), part);
                }
            }
            fields.iter().map(written).collect()
        }
        (Parts::Fields(_), Form::List) => return Err(bad("is an object, not a list of results".to_owned())),
    };
    let output = |body: Vec<u8>| Output { status, headers: headers.clone(), body: body.into() };
    Ok(bodies.into_iter().map(output).collect())
}

fn read_parts(bytes: &[u8]) -> serde_json::Result<Parts> {
    serde_json::from_slice(bytes).map(Parts::List).or_else(|_| serde_json::from_slice(bytes).map(Parts::Fields))
}

fn written(value: impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(&value).expect("JSON that was read can be written")
}
