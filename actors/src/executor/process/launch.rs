//! Starts a worker's process, up to its hello, and ends it with all its descendants.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ProcessOptions;
use super::ending::Ending;
use super::frame::{FrameError, FrameReader};
use super::log::{Stream, WorkerLog};
use super::message::{self, FromWorker, Hello, Offer};
use crate::task::{EndpointName, Failure, FailureCode};

/// The descriptor a worker finds its channel on.
const CHANNEL: i32 = 3;

/// How long a worker that closed its channel may take to exit.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// How long a killed process may take to be gone: forever, where a driver holds it.
const DYING_TIME: Duration = Duration::from_secs(10);

/// How long the last lines of a process that is gone are waited for. A descendant that left the process group may
/// keep the pipes open for ever.
const LAST_LINES_TIME: Duration = Duration::from_millis(500);

/// A worker's process and its descendants.
pub struct Group {
    pub pid: i32,
    pub log: WorkerLog,
    why: Mutex<Option<Ending>>,
    gone: AtomicBool,
}

impl Group {
    /// Kills all of it; of several reasons the first stands.
    pub fn end(&self, why: Ending) {
        self.why.lock().expect("nobody panics while holding it").get_or_insert(why);
        self.kill();
    }

    fn why(&self) -> Option<Ending> {
        self.why.lock().expect("nobody panics while holding it").clone()
    }

    /// Kills what is there of it.
    pub fn kill(&self) {
        // Once its leader was reaped and its last kill sent, the number may be another group's.
        if !self.gone.load(Ordering::Acquire) {
            // It fails only where all are gone already.
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }
}

/// Holds a process: let go of, it is killed with its whole group.
pub struct Leash {
    pub group: Arc<Group>,
    child: Child,
    captures: JoinSet<()>,
}

impl Leash {
    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> Ending {
        match self.child.wait().await {
            Ok(status) => Ending::from(status),
            Err(error) => Ending::GivenUp(format!("it could not be waited for: {error}")),
        }
    }

    /// Waits for the exit that should follow on a closed channel, and kills the process where none does.
    pub async fn closed(&mut self) {
        if timeout(CLOSING_TIME, self.child.wait()).await.is_err() {
            self.group.end(Ending::Breach("it closed its channel and lived on".to_owned()));
        }
    }

    /// Kills what is left of the group, and tells how the process ended. The log is then complete, in all likelihood.
    pub async fn finish(mut self) -> Ending {
        self.group.kill();
        let ended = timeout(DYING_TIME, self.ended()).await;
        self.group.kill();
        self.group.gone.store(true, Ordering::Release);
        let last_lines = async { while self.captures.join_next().await.is_some() {} };
        // What does not come in time is not waited for.
        let _ = timeout(LAST_LINES_TIME, last_lines).await;
        let by_itself = ended.unwrap_or(Ending::Signaled(Signal::SIGKILL as i32));
        self.group.why().unwrap_or(by_itself)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.group.kill();
    }
}

/// A process that was started and has not said hello yet.
pub struct Launched {
    pub leash: Leash,
    frames: FrameReader<OwnedReadHalf>,
    sink: OwnedWriteHalf,
}

/// A worker that is ready to work.
pub struct Ready {
    pub leash: Leash,
    pub frames: FrameReader<OwnedReadHalf>,
    pub sink: OwnedWriteHalf,
    pub hello: Hello,
    /// Which of its tasks is ours.
    pub offer: Offer,
}

/// Starts the command. Must be called in a runtime of tokio.
///
/// # Errors
/// No process came of it: says why for a person.
pub fn launch(endpoint: &EndpointName, options: &ProcessOptions) -> Result<Launched, Failure> {
    spawned(endpoint, options).map_err(|error| {
        let why = match &options.folder {
            Some(folder) if !folder.is_dir() => format!("the folder {} is not there", folder.display()),
            _ if error.kind() == io::ErrorKind::NotFound => "there is no such command".to_owned(),
            _ => error.to_string(),
        };
        no_worker(options, FailureCode::Unreachable, &why)
    })
}

fn spawned(endpoint: &EndpointName, options: &ProcessOptions) -> io::Result<Launched> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (source, sink) = UnixStream::from_std(ours)?.into_split();

    let (stdout, their_stdout) = Stream::new("stdout")?;
    let (stderr, their_stderr) = Stream::new("stderr")?;
    let mut command = command(options, theirs);
    let child = command.stdout(their_stdout).stderr(their_stderr).spawn()?;
    // It holds the other ends of the pipes, which would then never end.
    drop(command);
    let pid = child.id().expect("it was not waited for yet");
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let log = WorkerLog::new(endpoint.clone(), pid, vec![stdout.clone(), stderr.clone()]);
    let group = Arc::new(Group { pid, log, why: Mutex::default(), gone: AtomicBool::new(false) });
    let mut captures = JoinSet::new();
    for stream in [stdout, stderr] {
        let group = group.clone();
        captures.spawn(async move { group.log.capture(&stream).await });
    }
    Ok(Launched { leash: Leash { group, child, captures }, frames: FrameReader::new(source), sink })
}

fn command(options: &ProcessOptions, channel: StdUnixStream) -> Command {
    let mut command = Command::new(&options.command[0]);
    command
        .args(&options.command[1..])
        .env("EKIBEN_PROTOCOL", message::VERSION.to_string())
        .env("EKIBEN_THREADS", options.threads.to_string())
        .envs(options.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .process_group(0)
        .as_std_mut()
        .fd_mappings(vec![FdMapping { parent_fd: channel.into(), child_fd: CHANNEL }])
        .expect("a single mapping collides with no other");
    if let Some(folder) = &options.folder {
        command.current_dir(folder);
    }
    command
}

/// Why a process did not become a worker.
enum NoHello {
    Closed,
    Ended,
    Late,
    Unusable(String),
}

impl Launched {
    /// Waits for the hello.
    ///
    /// # Errors
    /// None came in time, or one that cannot be used; the process is gone then. Says why for a person, with the last
    /// lines of the log.
    pub async fn greet(mut self, endpoint: &EndpointName, options: &ProcessOptions) -> Result<Ready, Failure> {
        let greeting = tokio::select! {
            biased;
            hello = hello(&mut self.frames, endpoint, options) => hello,
            _ = self.leash.ended() => Err(NoHello::Ended),
            () = sleep(options.start_timeout) => Err(NoHello::Late),
        };
        match greeting {
            Ok((hello, offer)) => Ok(Ready { leash: self.leash, frames: self.frames, sink: self.sink, hello, offer }),
            Err(no_hello) => Err(self.given_up(no_hello, options).await),
        }
    }

    async fn given_up(mut self, no_hello: NoHello, options: &ProcessOptions) -> Failure {
        let group = self.leash.group.clone();
        if let NoHello::Closed = no_hello {
            self.leash.closed().await;
        }
        let ending = self.leash.finish().await;
        let (code, why) = match no_hello {
            NoHello::Closed | NoHello::Ended => (ending.code(), format!("it {ending} before it said hello")),
            NoHello::Unusable(_) | NoHello::Late if matches!(ending, Ending::OverMemory { .. }) => {
                (ending.code(), format!("it {ending}"))
            }
            NoHello::Unusable(why) => (FailureCode::Protocol, why),
            NoHello::Late => {
                (FailureCode::Unreachable, format!("it had not said hello after {:?}", options.start_timeout))
            }
        };
        no_worker(options, code, &why).with_log(&group.log.tail())
    }
}

/// Reads the hello, and finds the task in it that is ours.
async fn hello(
    frames: &mut FrameReader<OwnedReadHalf>,
    endpoint: &EndpointName,
    options: &ProcessOptions,
) -> Result<(Hello, Offer), NoHello> {
    let unusable = |why: String| Err(NoHello::Unusable(why));
    let header = match frames.header().await {
        Ok(Some(header)) => header,
        Ok(None) | Err(FrameError::Broken(_)) => return Err(NoHello::Closed),
        Err(FrameError::HeaderLength(_)) => return unusable("it sent something else than a hello".to_owned()),
    };
    let hello = match serde_json::from_slice(&header) {
        Ok(FromWorker::Hello(hello)) => hello,
        Ok(_) => return unusable("it said something else before it said hello".to_owned()),
        Err(error) => return unusable(format!("its first message is not a hello: {error}")),
    };
    if hello.protocol != message::VERSION {
        let spoken = hello.protocol;
        return unusable(format!("it speaks version {spoken} of the protocol, and we version {}", message::VERSION));
    }
    if hello.concurrency == 0 {
        return unusable("it says that it runs 0 attempts at a time".to_owned());
    }
    match own_offer(&hello, endpoint, options).cloned() {
        Some(offer) => Ok((hello, offer)),
        None => {
            let names: Vec<&str> = hello.tasks.iter().map(|offer| offer.name.as_str()).collect();
            let wanted = options.task.as_deref().unwrap_or(endpoint.as_str());
            unusable(format!("it has no task \"{wanted}\", but: {}", names.join(", ")))
        }
    }
}

fn own_offer<'a>(hello: &'a Hello, endpoint: &EndpointName, options: &ProcessOptions) -> Option<&'a Offer> {
    let named = |name: &str| hello.tasks.iter().find(|offer| offer.name == name);
    match (&options.task, &hello.tasks[..]) {
        (Some(task), _) => named(task),
        (None, [only]) => Some(only),
        (None, _) => named(endpoint.as_str()),
    }
}

fn no_worker(options: &ProcessOptions, code: FailureCode, why: &str) -> Failure {
    Failure::new(code, format!("no worker could be started with `{}`: {why}", options.command.join(" ")))
}
