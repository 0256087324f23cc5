//! The command line and the settings, as users meet them: the real binary, its output and its exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, in which the binary runs with an empty environment.
struct Bench {
    folder: tempfile::TempDir,
}

/// What a run of the binary came to.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ekiben(&self, arguments: &[&str]) -> Ran {
        self.ekiben_in(&[], arguments)
    }

    fn ekiben_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ekiben"));
        command.env_clear().envs(environment.iter().copied()).args(arguments).current_dir(self.folder.path());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("what we print is UTF-8");
        Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

const SHORT: &str = r#"
[endpoints.summarize]
type = "http"
url = "http://127.0.0.1:8000/summarize"
concurrency = 4
"#;

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

/// The line of `ekiben config` about a key, with single spaces.
fn line_of(ran: &Ran, key: &str) -> String {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // Endpoints come last, and have keys that other sections have too.
    let line = ran.stdout.lines().rfind(|line| line.starts_with(&format!("{key} = ")));
    let line = line.unwrap_or_else(|| panic!("no {key} in:\n{}", ran.stdout));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn version_and_help_are_told() {
    let bench = Bench::new();
    let version = bench.ekiben(&["--version"]);
    assert_eq!((version.code, version.stdout), (Some(0), format!("ekiben {}\n", env!("CARGO_PKG_VERSION"))));

    let help = bench.ekiben(&["--help"]);
    assert_eq!(help.code, Some(0));
    let taught = ["serve", "check", "config", "Examples", "EKIBEN_CONFIG", "EKIBEN__SECTION__KEY", "Exit codes:"];
    assert_has(&help.stdout, &taught);
}

#[test]
fn a_wrong_command_line_is_code_2_and_names_the_flag_meant() {
    let ran = Bench::new().ekiben(&["serve", "--lisen", "127.0.0.1:1"]);
    assert_eq!(ran.code, Some(2));
    assert_has(&ran.stderr, &["--listen"]);
}

#[test]
fn check_tells_what_the_short_file_would_serve() {
    let bench = Bench::new();
    bench.write("ekiben.toml", SHORT);
    let ran = bench.ekiben(&["check", "--config", "ekiben.toml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let served = "summarize  http POST http://127.0.0.1:8000/summarize; 4 at a time, up to 1h each, results kept 24h\n";
    assert_has(&ran.stdout, &["fit to run with", "http://127.0.0.1:3000", "./ekiben-data", served]);
}

#[test]
fn check_without_a_file_tells_of_the_demo() {
    let ran = Bench::new().ekiben(&["check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_has(&ran.stdout, &["those of the demo", "denoise", "detect_language"]);
}

#[test]
fn a_flag_is_enough_for_a_bentoml_service_and_takes_the_place_of_the_demo() {
    let ran = Bench::new().ekiben(&["check", "--bentoml", "http://user:hush@127.0.0.1:3001/"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let served = "\nendpoints:\n  bentoml  bentoml http://***@127.0.0.1:3001, every route; \
                  1 at a time, up to 1h each, results kept 24h\n";
    assert!(ran.stdout.ends_with(served), "{}", ran.stdout);
}

#[test]
fn a_bentoml_service_that_cannot_be_is_refused_with_the_way_out() {
    let bench = Bench::new();
    let file = "[endpoints.s]\ntype = \"bentoml\"\nurl = \"http://localhost:3001/?a=1\"\nroutes = [\"/a\"]\n\
                prefix = \"9\"\ndescription = \"x\"\noutput = \"{}\"\n";
    bench.write("bad.toml", file);
    let ran = bench.ekiben(&["check", "--config", "bad.toml", "--bentoml", "http://127.0.0.1:3000"]);
    assert_eq!(ran.code, Some(1));
    let told = [
        "there are 6 problems",
        "\n  endpoints.s.url (bad.toml:3): \"http://localhost:3001/?a=***\" has a query; write",
        "\n  endpoints.s.routes (bad.toml:4): \"/a\" is a path; write the name of the route, such as \"a\"",
        "\n  endpoints.s.prefix (bad.toml:5): no name of an endpoint can begin with \"9\"; write one such as",
        "\n  endpoints.s.description (bad.toml:6): of no use with type = \"bentoml\"",
        "\n  endpoints.s.output (bad.toml:7): of no use with type = \"bentoml\"",
        "\n  endpoints.bentoml.url (flag --bentoml): ekiben itself is to listen on 127.0.0.1:3000",
        "--listen 127.0.0.1:3100",
    ];
    assert_has(&ran.stderr, &told);
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place_and_the_way_out() {
    let bench = Bench::new();
    let file =
        "[http]\nlistn = \"127.0.0.1:1\"\n\n[endpoints.metrics]\ntype = \"http\"\nurl = \"nowhere\"\nconcurrency = 0\n";
    bench.write("bad.toml", file);
    let environment = [("EKIBEN__LIMITS__BODY", "much"), ("EKIBEN__RESULTS__RETENTON", "1h")];
    let arguments = ["check", "--config", "bad.toml", "--listen", "localhost:8080"];
    let ran = bench.ekiben_in(&environment, &arguments);

    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let told = [
        "ekiben: there are 7 problems with the settings:\n",
        "\n  http.listen (flag --listen): \"localhost:8080\" is not an address",
        "write \"127.0.0.1:8080\"",
        "\n  http.listn (bad.toml:2): no such setting; did you mean \"http.listen\"?\n",
        "\n  endpoints.metrics (bad.toml:4): /metrics is a route of ekiben's own",
        "\n  endpoints.metrics.url (bad.toml:6): \"nowhere\" is not the whole URL",
        "\n  endpoints.metrics.concurrency (bad.toml:7): 0 is out of bounds; the least is 1",
        "\n  limits.body (environment EKIBEN__LIMITS__BODY): \"much\" is not a size",
        "\n  results.retenton (environment EKIBEN__RESULTS__RETENTON): no such setting; did you mean \"results.retention\"?",
    ];
    assert_has(&ran.stderr, &told);

    // Serving with them is refused in the same words.
    let served = bench.ekiben_in(&environment, &["serve", "--config", "bad.toml", "--listen", "localhost:8080"]);
    assert_eq!((served.code, served.stderr), (Some(1), ran.stderr));
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_named() {
    let bench = Bench::new();
    let absent = bench.ekiben(&["check", "--config", "absent.toml"]);
    assert_eq!(absent.code, Some(1));
    assert_has(&absent.stderr, &["--config: cannot read absent.toml: "]);

    bench.write("broken.toml", "[http]\nlisten = \n");
    let broken = bench.ekiben_in(&[("EKIBEN_CONFIG", "broken.toml")], &["check"]);
    assert_eq!(broken.code, Some(1));
    assert_has(&broken.stderr, &["broken.toml:2: not TOML: "]);
}

#[test]
fn a_later_layer_wins_and_config_tells_which() {
    let bench = Bench::new();
    bench.write("ekiben.toml", &format!("[http]\nlisten = \"127.0.0.1:1\"\nworkers = 3\n{SHORT}"));
    let config = |environment: &[(&str, &str)], flags: &[&str]| {
        bench.ekiben_in(environment, &[&["config", "--config", "ekiben.toml"], flags].concat())
    };
    let environment = [("EKIBEN__HTTP__LISTEN", "127.0.0.1:2"), ("EKIBEN__ENDPOINTS__SUMMARIZE__CONCURRENCY", "8")];

    assert_eq!(line_of(&bench.ekiben(&["config"]), "listen"), "listen = \"127.0.0.1:3000\" # default");
    assert_eq!(line_of(&config(&[], &[]), "listen"), "listen = \"127.0.0.1:1\" # ekiben.toml:2");
    let with_environment = config(&environment, &[]);
    assert_eq!(line_of(&with_environment, "listen"), "listen = \"127.0.0.1:2\" # environment EKIBEN__HTTP__LISTEN");
    assert_eq!(line_of(&with_environment, "workers"), "workers = 3 # ekiben.toml:3");
    let concurrency = "concurrency = \"8\" # environment EKIBEN__ENDPOINTS__SUMMARIZE__CONCURRENCY";
    assert_eq!(line_of(&with_environment, "concurrency"), concurrency);
    assert_eq!(line_of(&with_environment, "timeout"), "timeout = \"1h\" # as limits.run_time");
    let with_flags = config(&environment, &["--listen", "127.0.0.1:3", "--data", "elsewhere"]);
    assert_eq!(line_of(&with_flags, "listen"), "listen = \"127.0.0.1:3\" # flag --listen");
    assert_eq!(line_of(&with_flags, "data"), "data = \"elsewhere\" # flag --data");
}

#[test]
fn config_shows_no_secret() {
    let bench = Bench::new();
    let secret = "[endpoints.a]\ntype = \"http\"\nurl = \"https://user:hush@host/x?token=hush\"\n";
    bench.write("ekiben.toml", secret);
    for command in ["config", "check"] {
        let ran = bench.ekiben(&[command, "--config", "ekiben.toml"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_has(&ran.stdout, &["https://***@host/x?token=***"]);
        assert!(!ran.stdout.contains("hush"), "{}", ran.stdout);
    }
    let ran = bench.ekiben(&["config", "--config", "ekiben.toml"]);
    assert_has(&ran.stdout, &["# ekiben.toml:3, secrets masked\n"]);
}

/// The settings of a file as `ekiben config` prints them, less the places they came from.
fn settings_of(bench: &Bench, file: &Path) -> Vec<String> {
    let ran = bench.ekiben(&["config", "--config", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.lines().map(|line| line.split("  # ").next().unwrap().trim_end().to_owned()).collect()
}

#[test]
fn what_config_prints_is_a_file_of_the_same_settings() {
    let bench = Bench::new();
    let rich = r#"
        [log]
        level = "info,ekiben=debug"
        [endpoints.summarize]
        type = "http"
        url = "http://127.0.0.1:8000/summarize"
        forward_headers = ["x-request-id"]
        description = 'says "yes" # and no'
        input = { properties = { text = { type = "string", "max length" = 1.5 }, a = { enum = [true, 2] } } }
        output = '{"type": "string"}'
        [endpoints.nothing]
        type = "noop"
    "#;
    let written = bench.write("written.toml", rich);
    let printed = bench.ekiben(&["config", "--config", "written.toml"]);
    let printed = bench.write("printed.toml", &printed.stdout);
    let checked = bench.ekiben(&["check", "--config", "printed.toml"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert_eq!(settings_of(&bench, &printed), settings_of(&bench, &written));

    let demo = bench.ekiben(&["config"]);
    bench.write("demo.toml", &demo.stdout);
    assert_eq!(bench.ekiben(&["check", "--config", "demo.toml"]).code, Some(0));
}

/// A setting is added in three places at once; the third is README's table.
#[test]
fn every_setting_has_a_row_in_readme() {
    let readme = include_str!("../README.md");
    let mut section = String::new();
    for line in include_str!("../src/config.default.toml").lines() {
        if let Some(name) = line.trim_start_matches('#').strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        }
        // In the example endpoints a setting stands behind a bare `#`, prose behind `# `.
        let setting = line.strip_prefix('#').unwrap_or(line);
        let Some((key, _)) = setting.split_once(" = ") else { continue };
        if !key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_') {
            continue;
        }
        let row = if section.starts_with("endpoints.") { format!("`{key}`") } else { format!("`{section}.{key}`") };
        assert!(readme.contains(&row), "README has no row for {row}");
    }
}

#[test]
fn a_secret_in_a_header_is_masked_and_a_place_for_one_is_shown() {
    let bench = Bench::new();
    let headers = r#"{ Authorization = "Bearer abc", x-api-key = "{env:API_KEY}", x-note = "plain" }"#;
    bench.write("ekiben.toml", &format!("{SHORT}headers = {headers}\n"));
    let ran = bench.ekiben(&["config", "--config", "ekiben.toml"]);
    let line = line_of(&ran, "headers");
    assert_has(
        &line,
        &["Authorization = \"***\"", "x-api-key = \"{env:API_KEY}\"", "x-note = \"plain\"", "secrets masked"],
    );
    assert!(!ran.stdout.contains("abc"), "{}", ran.stdout);
}

#[test]
fn a_secret_that_is_not_in_the_environment_keeps_the_service_from_starting_and_is_named() {
    let bench = Bench::new();
    bench.write("ekiben.toml", &format!("{SHORT}headers = {{ authorization = \"{{env:NO_SUCH}}\" }}\n"));
    let ran = bench.ekiben(&["serve", "--config", "ekiben.toml", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, Some(1));
    assert_has(&ran.stderr, &["summarize", "authorization", "the environment has no variable NO_SUCH"]);
}
