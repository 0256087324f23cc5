//! One line on its way: submitted, waited for, and its answer fetched, whatever happens to the service meanwhile.
//!
//! As a rule that is one request: the submission itself waits for the end of the task. Every request may be repeated:
//! the submission has a key, and the others only ask.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ekiben_actors::clock::stopwatch;
use reqwest::{Response, StatusCode};
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::answer::{Answered, Outcome, Output};
use super::folder::{self, Listed};
use super::gate::Gate;
use super::lines::{Asked, Form, Line, key};
use crate::client::submission::{Options, Submission};
use crate::client::task::{Task, TaskFailure, TaskState};
use crate::client::{Client, ClientError, Submitted, WAIT_MAX, content_length, content_type};

/// How long a submission waits for its task's end. A longer task is asked about again, for [`WAIT_MAX`] at a time.
const SUBMIT_WAIT: Duration = Duration::from_secs(20);

/// The least time between two questions about a task.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Most bytes of an output that stands in its line of the results; a larger one gets a file of its own.
const INLINE_MAX: u64 = 8 * 1024 * 1024;

/// Most bytes of outputs that are in memory at a time, in units of a KiB.
const OUTPUTS_MAX_KIB: u32 = 64 * 1024;

/// How often a line is begun anew after an answer that should not be: a 500, or a task that is gone.
const STRANGE_MAX: u32 = 5;

/// What the lines of a run have in common.
#[derive(Debug)]
pub struct Flights {
    pub client: Client,
    pub gate: Gate,
    pub endpoint: String,
    pub run: String,
    pub round: u32,
    pub form: Form,
    pub options: Options,
    pub place: Place,
    outputs: Semaphore,
}

/// Where inputs come from and outputs go.
#[derive(Debug)]
pub enum Place {
    /// Inputs stand in lines, outputs in results. A large output gets a file in `large`, as `{line}`.
    Lines { large: PathBuf },
    /// Lines name files; the outputs are files, too.
    Folder { input: PathBuf, output: PathBuf },
}

/// Why no line at all can go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0} cannot be written: {1}")]
    Write(PathBuf, std::io::Error),
}

/// How a line's input and output are called for its result.
struct Names {
    file: Option<String>,
    custom_id: Option<String>,
}

impl Flights {
    pub fn new(
        client: Client,
        endpoint: &str,
        run: &str,
        round: u32,
        form: Form,
        options: Options,
        place: Place,
    ) -> Self {
        let outputs = Semaphore::new(OUTPUTS_MAX_KIB as usize);
        let (endpoint, run) = (endpoint.to_owned(), run.to_owned());
        Self { client, gate: Gate::default(), endpoint, run, round, form, options, place, outputs }
    }

    /// Brings a line to its answer, however long that takes.
    pub async fn fly(&self, line: Line) -> Result<Answered, Fatal> {
        let number = line.number;
        let answered = |names: Names, task, outcome| {
            let Names { file, custom_id } = names;
            Answered { line: number, file, custom_id, task, outcome }
        };
        let (names, submission) = match self.prepare(line).await {
            Ok(prepared) => prepared,
            Err((names, message)) => {
                return Ok(answered(names, None, Outcome::Refused { code: "bad_line".to_owned(), message }));
            }
        };
        let mut known: Option<String> = None;
        let mut strange = 0;
        // Lines that are neighbours in the queue are spread over the pause.
        let spread = (number % 64) as f64 / 64.0;
        loop {
            self.gate.pass(spread).await;
            let asking = stopwatch();
            match self.step(&mut known, &submission, number, &names).await {
                Ok(Some(outcome)) => {
                    self.gate.open();
                    return Ok(answered(names, known, outcome));
                }
                Ok(None) => {
                    self.gate.open();
                    // A service that is stopping answers at once, and is not to be asked without end.
                    tokio::time::sleep(ASK_AGAIN.saturating_sub(asking.elapsed())).await;
                }
                Err(Fatal::Client(error)) if error.is_passing() => self.gate.shut(&error),
                Err(Fatal::Client(ClientError::Refused(refusal))) => {
                    let is_gone = known.is_some() && refusal.status == StatusCode::NOT_FOUND;
                    let is_strange = refusal.status.is_server_error() || is_gone;
                    if is_strange && strange < STRANGE_MAX {
                        strange += 1;
                        known = None;
                        self.gate.shut(&ClientError::Refused(refusal));
                        continue;
                    }
                    let is_for_all =
                        matches!(refusal.status.as_u16(), 401 | 403) || refusal.code == "endpoint_not_found";
                    if is_for_all {
                        return Err(ClientError::Refused(refusal).into());
                    }
                    let code = if refusal.code.is_empty() { "refused".to_owned() } else { refusal.code };
                    return Ok(answered(names, known, Outcome::Refused { code, message: refusal.detail }));
                }
                Err(fatal) => return Err(fatal),
            }
        }
    }

    /// How many bytes the input of a line has.
    pub fn input_bytes(&self, line: &Line) -> u64 {
        match &self.place {
            Place::Lines { .. } => line.text.len() as u64,
            Place::Folder { input, .. } => {
                let listed = serde_json::from_slice::<Listed>(&line.text).ok();
                // Of a file that is gone, its flight tells.
                listed.and_then(|listed| std::fs::metadata(input.join(listed.file)).ok()).map_or(0, |found| found.len())
            }
        }
    }

    /// Makes a submission of a line.
    async fn prepare(&self, line: Line) -> Result<(Names, Submission), (Names, String)> {
        let (names, asked, content_type) = match &self.place {
            Place::Lines { .. } => {
                let nameless = Names { file: None, custom_id: None };
                let mut asked = Asked::of(&line.text, self.form).map_err(|problem| (nameless, problem))?;
                let names = Names { file: None, custom_id: asked.custom_id.take() };
                (names, asked, "application/json".to_owned())
            }
            Place::Folder { input, .. } => {
                let listed: Listed = serde_json::from_slice(&line.text).expect("the listing is ours");
                let (path, content_type) = (input.join(&listed.file), folder::content_type(&listed.file));
                let names = Names { file: Some(listed.file), custom_id: None };
                match fs::read(&path).await {
                    Ok(input) => (names, Asked { custom_id: None, input, options: Options::default() }, content_type),
                    Err(error) => return Err((names, format!("{} cannot be read: {error}", path.display()))),
                }
            }
        };
        let idempotency_key = Some(key(&self.run, self.round, line.number, &asked.input));
        let input = Bytes::from(asked.input);
        let options = self.options.with(&asked.options);
        Ok((names, Submission { content_type, input, options, idempotency_key, wait: Some(SUBMIT_WAIT) }))
    }

    /// Asks once. `None` when the task has not ended yet.
    async fn step(
        &self,
        known: &mut Option<String>,
        submission: &Submission,
        line: u64,
        names: &Names,
    ) -> Result<Option<Outcome>, Fatal> {
        let task = match &*known {
            None => match self.client.submit(&self.endpoint, submission).await? {
                Submitted::Recorded { task, .. } => *task,
                Submitted::Ended { task, answer } => {
                    *known = Some(task.clone());
                    if answer.status().is_success() {
                        return self.completed(answer, line, names).await.map(Some);
                    }
                    self.client.task(&task, None).await?.0
                }
            },
            Some(id) => self.client.task(id, Some(WAIT_MAX)).await?.0,
        };
        *known = Some(task.id.clone());
        self.outcome(task, line, names).await
    }

    async fn outcome(&self, task: Task, line: u64, names: &Names) -> Result<Option<Outcome>, Fatal> {
        let unsaid = || TaskFailure { code: "failed".into(), message: String::new(), retryable: false, log: None };
        Ok(match task.state {
            TaskState::Pending | TaskState::InProgress => None,
            TaskState::Completed => {
                let answer = self.client.accepted(self.client.output(&task.id).await?).await?;
                Some(self.completed(answer, line, names).await?)
            }
            TaskState::Failed => Some(Outcome::Failed(task.failure.unwrap_or_else(unsaid))),
            TaskState::Canceled => Some(Outcome::Canceled(task.failure)),
        })
    }

    /// Takes the output, into memory or into a file.
    async fn completed(&self, answer: Response, line: u64, names: &Names) -> Result<Outcome, Fatal> {
        let kind = content_type(&answer).map(str::to_owned);
        let output = match &self.place {
            Place::Folder { input, output } => {
                let file = names.file.as_ref().expect("each line of a folder names a file");
                let name = folder::output_name(input, file, kind.as_deref());
                self.save(answer, &output.join(&name)).await?;
                Output::File(name)
            }
            Place::Lines { large } => self.keep(answer, &large.join(line.to_string())).await?,
        };
        Ok(Outcome::Completed { content_type: kind, output })
    }

    /// Reads a small output; saves a large one, beside the results.
    async fn keep(&self, answer: Response, large: &Path) -> Result<Output, Fatal> {
        if let Some(bytes) = content_length(&answer).filter(|bytes| *bytes <= INLINE_MAX) {
            let kib = u32::try_from(bytes / 1024).expect("it is small").max(1);
            let _room = self.outputs.acquire_many(kib).await.expect("it is never closed");
            let most = usize::try_from(INLINE_MAX).expect("it is small");
            return Ok(Output::Bytes(self.client.read(answer, most).await?));
        }
        let failed = |error| Fatal::Write(large.to_owned(), error);
        self.save(answer, large).await?;
        // One whose length was not told, as a proxy may have it, may turn out small.
        if fs::metadata(large).await.map_err(failed)?.len() > INLINE_MAX {
            return Ok(Output::File(large.display().to_string()));
        }
        let bytes = fs::read(large).await.map_err(failed)?;
        fs::remove_file(large).await.map_err(failed)?;
        Ok(Output::Bytes(bytes))
    }

    /// Writes an output to a file, which is there only once it is whole and safe.
    async fn save(&self, mut answer: Response, path: &Path) -> Result<(), Fatal> {
        let failed = |error| Fatal::Write(path.to_owned(), error);
        let part = super::files::beside(path, "part");
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder).await.map_err(failed)?;
        let mut file = fs::File::create(&part).await.map_err(failed)?;
        while let Some(piece) = answer.chunk().await.map_err(|error| self.client.lost(&error))? {
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        fs::rename(&part, path).await.map_err(failed)
    }
}
