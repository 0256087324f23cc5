//! `ekiben completions` and `ekiben man`: what shells and `man` make of the command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::print;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben completions bash > ~/.local/share/bash-completion/completions/ekiben
  ekiben completions zsh > ~/.zfunc/_ekiben                                     (with ~/.zfunc in fpath)
  ekiben completions fish > ~/.config/fish/completions/ekiben.fish")]
pub struct CompletionsCommand {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, or write the pages of all commands into a folder
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben man | man -l -
  ekiben man --folder ~/.local/share/man/man1")]
pub struct ManCommand {
    /// The folder to write ekiben.1, ekiben-run.1 and so on to
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl CompletionsCommand {
    pub fn run(self, mut line: Command) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut line, "ekiben", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}

impl ManCommand {
    pub fn run(self, line: Command) -> ExitCode {
        let written = match &self.folder {
            Some(folder) => std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(line, folder)),
            None => page(line).and_then(|page| std::io::stdout().write_all(&page)),
        };
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ekiben: the manual cannot be written: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

fn page(line: Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(line).render(&mut page)?;
    Ok(page)
}
