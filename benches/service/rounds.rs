//! What is measured in which order. Workloads take turns within a round, so that whatever else the machine does
//! falls on all of them alike, and each is set against the echo of its own round.

use std::fs;
use std::path::PathBuf;

use crate::child::{Server, run_load, start_echo, start_service};
use crate::load::{Measured, Order, Workload};

/// How much is measured.
pub struct Plan {
    pub rounds: usize,
    /// Of each workload at each number of connections, in each round.
    pub seconds: f64,
}

impl Plan {
    /// Under three minutes on two cores.
    pub const WHOLE: Plan = Plan { rounds: 5, seconds: 1.2 };
    /// Under twenty seconds: does it run, and roughly how well.
    pub const QUICK: Plan = Plan { rounds: 1, seconds: 0.3 };
}

pub const CONNECTIONS: [usize; 3] = [1, 64, 256];

/// A line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    Echo,
    Submit,
    Tasks,
    Backlog,
    Status,
    Call,
    QuietSubmit,
    QuietTasks,
}

impl Row {
    pub const ALL: [Row; 8] =
        [Row::Echo, Row::Submit, Row::Tasks, Row::Backlog, Row::Status, Row::Call, Row::QuietSubmit, Row::QuietTasks];

    pub fn title(self) -> &'static str {
        match self {
            Row::Echo => "bare actix-web JSON echo",
            Row::Submit => "submit, tasks run behind",
            Row::Tasks => "whole tasks, to the last completed",
            Row::Backlog => "submit to a backlog, none run",
            Row::Status => "status, finished and pending",
            Row::Call => "call that waits for its task",
            Row::QuietSubmit => "submit, log at warn",
            Row::QuietTasks => "whole tasks, log at warn",
        }
    }
}

/// One measurement of one row.
pub struct Sample {
    pub row: Row,
    pub connections: usize,
    pub round: usize,
    pub per_second: f64,
    /// `None` where nobody waits for a single one.
    pub latency: Option<Latency>,
    /// Of the server, for each answer or task.
    pub cpu_seconds: f64,
    /// The part of one core that the load took.
    pub load_cores: f64,
}

#[derive(Clone, Copy)]
pub struct Latency {
    pub p50_seconds: f64,
    pub p99_seconds: f64,
}

/// What is measured. The backlog has a service of its own, so that a million waiting tasks weigh on nothing else.
struct Servers {
    echo: Server,
    service: Server,
    backlog: Server,
    quiet: Server,
    /// The tasks the status workload asks for.
    questions: PathBuf,
}

/// Runs all rounds.
///
/// # Errors
/// A server that does not start or break, and any answer that is not what it should be.
pub fn run(plan: &Plan) -> Result<Vec<Sample>, String> {
    let servers = start()?;
    let mut samples = Vec::new();
    for round in 0..plan.rounds {
        for connections in CONNECTIONS {
            eprintln!("round {} of {}, {connections} connections", round + 1, plan.rounds);
            one_round(&servers, plan.seconds, Place { round, connections }, &mut samples)?;
        }
    }
    Ok(samples)
}

/// Starts the servers, warms them, and leaves tasks to ask for.
fn start() -> Result<Servers, String> {
    const WARM_UP_SECONDS: f64 = 0.3;
    const CONNECTIONS: usize = 16;
    let echo = start_echo()?;
    let service = start_service("info", &echo)?;
    let (finished, pending) = (service.file("finished"), service.file("pending"));
    let questions = service.file("questions");
    let servers = Servers {
        backlog: start_service("info", &echo)?,
        quiet: start_service("warn", &echo)?,
        echo,
        service,
        questions,
    };

    let warm_up = |workload, server: &Server, path: &str, questions: Option<PathBuf>| {
        measure(workload, server, path, CONNECTIONS, WARM_UP_SECONDS, questions)
    };
    warm_up(Workload::Mirror, &servers.echo, "/", None)?;
    warm_up(Workload::Tasks, &servers.quiet, "/noop", None)?;
    warm_up(Workload::Backlog, &servers.backlog, "/stuck", None)?;
    warm_up(Workload::Tasks, &servers.service, "/noop", Some(finished.clone()))?;
    warm_up(Workload::Backlog, &servers.service, "/stuck", Some(pending.clone()))?;
    mix(&[finished, pending], &servers.questions).map_err(|error| format!("mixing what to ask for: {error}"))?;
    Ok(servers)
}

/// Writes lines of the files in turn, as many of each as the shortest has.
fn mix(files: &[PathBuf; 2], mixed: &PathBuf) -> std::io::Result<()> {
    let [finished, pending] = [fs::read_to_string(&files[0])?, fs::read_to_string(&files[1])?];
    let pairs = finished.lines().zip(pending.lines());
    fs::write(mixed, pairs.map(|(one, other)| format!("{one}\n{other}\n")).collect::<String>())
}

#[derive(Clone, Copy)]
struct Place {
    round: usize,
    connections: usize,
}

fn one_round(servers: &Servers, seconds: f64, place: Place, samples: &mut Vec<Sample>) -> Result<(), String> {
    let Servers { echo, service, backlog, quiet, questions } = servers;
    let run =
        |workload, server, path, questions| measure(workload, server, path, place.connections, seconds, questions);
    let echoed = run(Workload::Mirror, echo, "/", None)?;
    samples.push(place.answers(Row::Echo, &echoed));
    let tasks = run(Workload::Tasks, service, "/noop", None)?;
    samples.push(place.answers(Row::Submit, &tasks));
    samples.push(place.tasks(Row::Tasks, &tasks));
    let status = run(Workload::Status, service, "", Some(questions.clone()))?;
    samples.push(place.answers(Row::Status, &status));
    let waiting = run(Workload::Backlog, backlog, "/stuck", None)?;
    samples.push(place.answers(Row::Backlog, &waiting));
    let called = run(Workload::Mirror, service, "/noop", None)?;
    samples.push(place.answers(Row::Call, &called));
    let tasks = run(Workload::Tasks, quiet, "/noop", None)?;
    samples.push(place.answers(Row::QuietSubmit, &tasks));
    samples.push(place.tasks(Row::QuietTasks, &tasks));
    Ok(())
}

/// Measures one workload once; what was refused makes the bench fail.
fn measure(
    workload: Workload,
    server: &Server,
    path: &str,
    connections: usize,
    seconds: f64,
    questions: Option<PathBuf>,
) -> Result<Measured, String> {
    let (address, server) = (server.address, server.process());
    let measured =
        run_load(&Order { workload, address, server, path: path.to_owned(), connections, seconds, questions })?;
    match &measured.first_refusal {
        None => Ok(measured),
        Some(first) => {
            let (refused, answers) = (measured.refused, measured.answers);
            Err(format!("{refused} of {answers} answers of {path} were not as expected, the first:\n{first}"))
        }
    }
}

impl Place {
    fn answers(self, row: Row, measured: &Measured) -> Sample {
        let answers = measured.answers as f64;
        Sample {
            row,
            connections: self.connections,
            round: self.round,
            per_second: answers / measured.seconds,
            latency: Some(Latency { p50_seconds: measured.p50_seconds, p99_seconds: measured.p99_seconds }),
            cpu_seconds: measured.server_cpu_seconds / answers,
            load_cores: measured.load_cpu_seconds / measured.seconds,
        }
    }

    fn tasks(self, row: Row, measured: &Measured) -> Sample {
        let completed = measured.completed.expect("the load waited for its tasks");
        let tasks = measured.answers as f64;
        Sample {
            row,
            connections: self.connections,
            round: self.round,
            per_second: tasks / completed.seconds,
            latency: None,
            cpu_seconds: completed.server_cpu_seconds / tasks,
            load_cores: measured.load_cpu_seconds / completed.seconds,
        }
    }
}
