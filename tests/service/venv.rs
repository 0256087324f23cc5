//! Python environments with BentoML's clients in them, each made once and kept under the target folder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::program::{Program, poll};

/// A venv is made in a minute or so; this is for a slow network, or for waiting until another process has made it.
const MAKING_TIME: Duration = Duration::from_secs(9 * 60);

/// How long a script may run. It is done in seconds, most of them spent on importing.
const SCRIPT_TIME: Duration = Duration::from_secs(120);

/// Which generation of BentoML's clients.
#[derive(Clone, Copy, Debug)]
pub enum Clients {
    Current,
    /// The last version with the old status words.
    V1_4_13,
    /// None of BentoML's: real models, and servers to put before them.
    Models,
    /// None of BentoML's: what holds the service against its OpenAPI document.
    OpenApi,
}

impl Clients {
    fn venv(self) -> &'static str {
        match self {
            Self::Current => "bentoml-current",
            Self::V1_4_13 => "bentoml-1.4.13",
            Self::Models => "models",
            Self::OpenApi => "openapi",
        }
    }

    fn requirements(self) -> PathBuf {
        scripts().join(match self {
            Self::Current => "requirements-current.txt",
            Self::V1_4_13 => "requirements-1.4.13.txt",
            Self::Models => "requirements-models.txt",
            Self::OpenApi => "requirements-openapi.txt",
        })
    }
}

/// An environment that is whole: every requirement is installed.
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// Makes the environment, unless it is there, for these requirements and this Python.
    ///
    /// Tests in parallel, in this process or in others, wait for the one that makes it.
    #[track_caller]
    pub fn of(clients: Clients) -> Self {
        let venvs = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venv");
        fs::create_dir_all(&venvs).expect("the target folder can be written to");
        let folder = venvs.join(clients.venv());
        let _lock = lock(&venvs.join(format!("{}.lock", clients.venv())));

        let stamp = stamp(&clients.requirements());
        let stamped = folder.join("ekiben-stamp");
        if fs::read_to_string(&stamped).is_ok_and(|stamped| stamped == stamp) {
            return Self { folder };
        }
        make(&folder, &clients.requirements());
        // Written last: a venv without it was left half made.
        fs::write(&stamped, stamp).expect("the venv is ours");
        Self { folder }
    }

    /// Where its programs are, `python` among them.
    pub fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Starts a script of `tests/python`, in a temporary folder for whatever it and BentoML want to keep.
    #[track_caller]
    pub fn start(&self, script: &str, arguments: &[&str], folder: &Path) -> Program {
        let mut command = self.python(folder);
        command.arg(scripts().join(script)).args(arguments);
        Program::start(script, command)
    }

    /// Python, to be run in such a folder, and in an environment that says nothing to BentoML. It finds the modules of
    /// `tests/python`.
    pub fn python(&self, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join("bin/python"));
        command.current_dir(folder).env("HOME", folder).env("PYTHONPATH", scripts());
        command.env("TMPDIR", folder).env("BENTOML_HOME", folder).env("BENTOML_DO_NOT_TRACK", "true");
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        // Of the caller's environment nothing may reach the client but what the script says.
        command.env("no_proxy", "*").env_remove("BENTO_CLOUD_API_KEY");
        command
    }

    /// Runs a script to its end, which must be a good one.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[&str]) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut program = self.start(script, arguments, folder.path());
        let status = program.wait_for_exit_within(SCRIPT_TIME);
        assert!(status.success(), "{script} failed with {status}; its output is below");
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// Held until it is dropped, or until the process ends in whatever way.
#[track_caller]
fn lock(path: &Path) -> File {
    let file = File::create(path).expect("the target folder can be written to");
    let locked = poll(MAKING_TIME, || match file.try_lock() {
        Ok(()) => Some(()),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => panic!("{} cannot be locked: {error}", path.display()),
    });
    assert!(locked.is_some(), "{} is still locked after {MAKING_TIME:?}", path.display());
    file
}

/// What an environment is made from; another one is made when it changes.
#[track_caller]
fn stamp(requirements: &Path) -> String {
    let python = Command::new("python3").arg("--version").output();
    let python = python.unwrap_or_else(|error| panic!("these tests need python3 on the path: {error}"));
    let requirements = fs::read_to_string(requirements).expect("it is in the repository");
    format!("{}{requirements}", String::from_utf8_lossy(&python.stdout))
}

#[track_caller]
fn make(folder: &Path, requirements: &Path) {
    remove(folder);
    let unfinished = RemovedUnlessMade(folder);
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    succeed("python3 -m venv", venv);
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"]).arg(requirements);
    succeed("pip install", pip);
    std::mem::forget(unfinished);
}

#[track_caller]
fn succeed(name: &str, command: Command) {
    let mut program = Program::start(name, command);
    let status = program.wait_for_exit_within(MAKING_TIME);
    assert!(status.success(), "{name} failed with {status}; its output is below");
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("the venv is ours");
    }
}

/// Takes away what a failed installation leaves.
struct RemovedUnlessMade<'a>(&'a Path);

impl Drop for RemovedUnlessMade<'_> {
    fn drop(&mut self) {
        remove(self.0);
    }
}
