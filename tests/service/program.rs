//! A program that a test runs beside itself: its output is kept, every wait for it is bounded, and it never
//! outlives its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ekiben_actors::clock::stopwatch;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything is waited for that comes in a blink on a machine with time to spare.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a program's output is shown when the test fails.
const TAIL: usize = 60;

/// A running program. Dropping it kills it; when the test fails, its output is shown then.
///
/// The verbs block their thread. A test whose own runtime must go on meanwhile, because it serves the program
/// something, wants a runtime with more than one thread.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Output>,
}

impl Program {
    /// Starts it with nothing to read and with its output collected.
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let output = Arc::new(Output::new());
        collect(child.stdout.take().expect("it is piped"), output.clone());
        collect(child.stderr.take().expect("it is piped"), output.clone());
        Self { name: name.to_owned(), child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, by lines; those of stdout and stderr come as they were read.
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().lines.clone()
    }

    /// The first line that fits, which may have been written already.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let waiting = stopwatch();
        let mut seen = 0;
        let mut output = self.output.lock();
        while let Some(left) = PATIENCE.checked_sub(waiting.elapsed()) {
            if let Some(line) = output.lines[seen..].iter().find(|line| fits(line)) {
                return line.clone();
            }
            seen = output.lines.len();
            if output.open == 0 {
                break;
            }
            output = self.output.changed.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        panic!("{} did not tell {what} before its end, or within {PATIENCE:?}", self.name);
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits until it has ended by itself and all its output is here.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.wait_for_exit_within(PATIENCE)
    }

    #[track_caller]
    pub fn wait_for_exit_within(&mut self, patience: Duration) -> ExitStatus {
        let status = poll(patience, || self.child.try_wait().expect("it is our child"));
        let status = status.unwrap_or_else(|| panic!("{} still runs after {patience:?}", self.name));
        self.wait_for_end_of_output();
        status
    }

    /// Ends it at once, with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.wait_for_end_of_output();
    }

    /// Asks it to end, with SIGTERM, and does not wait.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Does nothing to a program that has ended: its pid may be another's by now.
    pub fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            kill_process(Pid::from_child(&self.child), signal).expect("it is our child and not yet waited for");
        }
    }

    /// Bounded, as a process of its own that it left behind may hold the pipes.
    fn wait_for_end_of_output(&self) {
        let output = self.output.lock();
        let ended = self.output.changed.wait_timeout_while(output, PATIENCE, |output| output.open > 0);
        drop(ended);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
        if std::thread::panicking() {
            let lines = self.lines();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("--- the last of {} lines of {}:\n{}\n---", lines.len(), self.name, tail.join("\n"));
        }
    }
}

/// Asks again and again, with short pauses, until there is an answer or the patience is over.
pub fn poll<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let asking = stopwatch();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if asking.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a program wrote.
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: Vec<String>,
    /// How many of its two streams are not at their end.
    open: usize,
}

impl Output {
    fn new() -> Self {
        Self { state: Mutex::new(State { lines: Vec::new(), open: 2 }), changed: Condvar::new() }
    }

    /// A test that panicked while it looked has changed nothing, and the output is still to be shown.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Reads a stream to its end on a thread of its own, which ends with the program.
fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // An error is the end as well: there is no more to read.
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            output.change(|output| output.lines.push(text));
            line.clear();
        }
        output.change(|output| output.open -= 1);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Program::start("a shell", command)
    }

    #[test]
    fn what_a_program_wrote_is_all_there_once_it_has_ended() {
        let mut program = shell("echo out; echo err >&2; printf unfinished; exit 3");
        assert_eq!(program.wait_for_exit().code(), Some(3));
        let mut lines = program.lines();
        lines.sort();
        assert_eq!(lines, ["err", "out", "unfinished"]);
    }

    #[test]
    fn a_program_does_not_outlive_its_owner() {
        let program = shell("echo up; exec cat /dev/zero > /dev/null");
        program.wait_for_line("that it is up", |line| line == "up");
        let pid = Pid::from_child(&program.child);
        drop(program);
        assert!(rustix::process::test_kill_process(pid).is_err(), "its pid still answers");
    }

    #[test]
    fn a_signal_reaches_the_program() {
        let mut program = shell("trap 'echo caught; exit 0' TERM; echo up; while :; do :; done");
        program.wait_for_line("that it is up", |line| line == "up");
        program.terminate();
        assert!(program.wait_for_exit().success());
        assert!(program.lines().contains(&"caught".to_owned()));
    }
}
