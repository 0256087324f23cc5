//! `ekiben watch`: a task while it lives, or the endpoints' counts while they change.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::endpoints;
use super::print;
use super::remote::{Complaint, Exit, Remote, Signals, task_id};
use super::tasks::told;
use super::terminal::clean;
use crate::client::events::{Event, Events};
use crate::client::{Client, ClientError};

/// How long after the stream broke it is opened again, at first and at most.
const AGAIN_MIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// How often the endpoints are asked about.
const EVERY: Duration = Duration::from_secs(1);

/// Watch a task until it has ended, or the counts of all endpoints
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben watch                           the endpoints: what waits, runs and has ended, until Ctrl-C
  ekiben watch 0199…                     one task; the exit code tells how it ended
  ekiben watch 0199… --json              its events, an object a line

A connection that breaks is made again, and nothing is missed by that.")]
pub struct WatchCommand {
    /// The task; all endpoints where none is named
    #[arg(value_name = "ID", value_parser = task_id)]
    id: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl WatchCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        match &self.id {
            Some(id) => self.watch_task(&client, id).await,
            None => self.watch_endpoints(&client).await,
        }
    }

    async fn watch_task(&self, client: &Client, id: &str) -> Exit {
        let is_shown = !self.remote.json && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(100),
            match is_shown {
                true => ProgressDrawTarget::stderr(),
                false => ProgressDrawTarget::hidden(),
            },
        );
        let style = ProgressStyle::with_template("{spinner} {bar:24.cyan} {percent} %  {elapsed}  {wide_msg}");
        bar.set_style(style.expect("the template is right").progress_chars("━╸─"));
        let mut follow = Follow::new(client, id);
        while let Some(event) = follow.next().await? {
            let data = event.value();
            if self.remote.json {
                print(&format!("{}\n", json!({ "id": event.id, "event": event.kind, "data": data })));
                continue;
            }
            let message = data.get("message").and_then(Value::as_str).map(clean).unwrap_or_default();
            if let ("progress", true) = (event.kind.as_str(), is_shown) {
                let fraction = data.get("fraction").and_then(Value::as_f64).unwrap_or(0.0);
                bar.set_position((fraction * 100.0).round() as u64);
                bar.set_message(message);
                continue;
            }
            bar.suspend(|| print(&format!("{}\n", told_event(&event.kind, &data, &message))));
        }
        bar.finish_and_clear();
        told(&client.task(id, None).await?.0)
    }

    async fn watch_endpoints(&self, client: &Client) -> Exit {
        let mut signals = Signals::listen()?;
        let is_terminal = std::io::stdout().is_terminal();
        let mut drawn = 0;
        loop {
            let text = match client.endpoints().await {
                Ok((_, raw)) if self.remote.json => format!("{raw}\n"),
                Ok((endpoints, _)) => endpoints::shown(&endpoints),
                // Before anything was shown, that is an answer; afterwards it is news.
                Err(error) if drawn == 0 => return Err(error.into()),
                Err(error) => format!("{error}\n"),
            };
            if is_terminal && !self.remote.json {
                // Up to where the last one began, and away with it. Lines are cut rather than wrapped meanwhile, so that
                // each takes one row.
                let up = if drawn > 0 { format!("\x1b[{drawn}A\x1b[J") } else { String::new() };
                print(&format!("{up}\x1b[?7l{text}\x1b[?7h"));
            } else {
                print(&text);
            }
            drawn = text.lines().count();
            tokio::select! {
                _ = signals.next() => return Ok(ExitCode::SUCCESS),
                () = sleep(EVERY) => {}
            }
        }
    }
}

/// An event in a line.
fn told_event(kind: &str, data: &Value, message: &str) -> String {
    let at = data.get("at").and_then(Value::as_str).map(clean).unwrap_or_default();
    let rest = match kind {
        "progress" => {
            let fraction = data.get("fraction").and_then(Value::as_f64);
            format!("{} {message}", fraction.map_or_else(String::new, |fraction| format!("{:.0} %", fraction * 100.0)))
        }
        "log" => message.to_owned(),
        _ => {
            let failure = data.get("failure").filter(|failure| !failure.is_null());
            let text = |name: &str| failure.and_then(|failure| failure.get(name)).and_then(Value::as_str).map(clean);
            [text("code"), text("message")].into_iter().flatten().collect::<Vec<_>>().join(": ")
        }
    };
    format!("{at} {kind} {rest}").trim().to_owned()
}

/// The events of a task to its end, over as many connections as it takes.
pub struct Follow<'a> {
    client: &'a Client,
    id: String,
    stream: Option<Events>,
    seen: Option<String>,
    /// How long to wait before the next connection.
    again: Duration,
    has_ended: bool,
}

impl Event {
    /// What it says, as JSON; a text where it is none.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|_| Value::String(self.data.clone()))
    }
}

impl<'a> Follow<'a> {
    pub fn new(client: &'a Client, id: &str) -> Self {
        Self { client, id: id.to_owned(), stream: None, seen: None, again: Duration::ZERO, has_ended: false }
    }

    /// The next event; `None` after the one that says how the task ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Complaint> {
        loop {
            if self.has_ended {
                return Ok(None);
            }
            match self.step().await {
                Ok(Some(event)) => {
                    self.again = Duration::ZERO;
                    self.seen = Some(event.id.clone()).filter(|id| !id.is_empty()).or(self.seen.take());
                    self.has_ended = matches!(event.kind.as_str(), "completed" | "failed" | "canceled");
                    return Ok(Some(event));
                }
                // Closed in good order: as a service that stops does.
                Ok(None) => self.pause(None).await,
                // Who cannot be reached at the very first is told; later on it is waited for.
                Err(error) if error.is_passing() && self.seen.is_some() => self.pause(error.retry_after()).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Event>, ClientError> {
        if self.stream.is_none() {
            self.stream = Some(self.client.events(&self.id, self.seen.as_deref()).await?);
        }
        self.stream.as_mut().expect("it was just opened").next().await
    }

    async fn pause(&mut self, asked: Option<Duration>) {
        self.stream = None;
        self.again = (self.again * 2).clamp(AGAIN_MIN, AGAIN_MAX);
        sleep(asked.unwrap_or(self.again).min(AGAIN_MAX)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

    use super::*;

    /// What the client said it had seen, connection by connection.
    type Seen = Arc<Mutex<Vec<Option<String>>>>;

    fn stream(events: &'static str) -> HttpResponse {
        HttpResponse::Ok().content_type("text/event-stream").body(events)
    }

    async fn events(request: HttpRequest, seen: web::Data<Seen>) -> HttpResponse {
        let mut seen = seen.lock().unwrap();
        let last = request.headers().get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
        seen.push(last);
        match seen.len() {
            1 => {
                stream("id: 0.0\nevent: submitted\ndata: {}\n\nid: 1.0\nevent: started\ndata: {}\n\nid: 1.1\nevent: lo")
            }
            2 => HttpResponse::ServiceUnavailable().finish(),
            3 => stream(": nothing yet\n\n"),
            _ => stream("id: 1.1\nevent: log\ndata: {}\n\nid: 1.999999999\nevent: completed\ndata: {}\n\n"),
        }
    }

    #[actix::test]
    async fn a_stream_that_breaks_is_gone_on_with_after_the_last_whole_event() {
        let seen = Seen::default();
        let data = web::Data::new(seen.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(data.clone()).route("/v1/tasks/{task}/events", web::get().to(events))
        });
        let server = server.workers(1).bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix::spawn(server);

        let client = Client::new(&format!("http://{address}")).unwrap();
        let mut follow = Follow::new(&client, "01");
        let mut kinds = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            kinds.push(event.kind);
        }
        assert_eq!(kinds, ["submitted", "started", "log", "completed"]);
        let last = Some("1.0".to_owned());
        assert_eq!(*seen.lock().unwrap(), [None, last.clone(), last.clone(), last]);
        handle.stop(false).await;
    }
}
