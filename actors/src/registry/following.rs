//! Those who follow tasks, told of every change.
//!
//! They may be thousands, and slow. So the Registry keeps one sending end a task that is followed, over which goes
//! how the task stands and nothing else: a slow follower misses states in between, never the latest, and reads in the
//! store what it missed.

use std::collections::HashMap;
use std::sync::Arc;

use actix::Message;
use tokio::sync::watch;

use crate::executor::Report;
use crate::store::StoreError;
use crate::task::{Task, TaskId};

/// To hear of every change of a task. Answers `None` for one that is not known.
#[derive(Message)]
#[rtype(result = "Result<Option<Followed>, StoreError>")]
pub struct Follow {
    pub task: TaskId,
}

/// What `Follow` answers.
pub struct Followed {
    /// How it stands now.
    pub standing: Arc<Standing>,
    /// Tells when it stands otherwise, or when its report has something new; `None` inside until then. It closes when
    /// this node drains.
    pub news: watch::Receiver<Option<Arc<Standing>>>,
}

/// How a task stands, and what its latest attempt on this node told.
#[derive(Debug)]
pub struct Standing {
    pub task: Task,
    /// Of the attempt that the task counts last; `None` where that told nothing, or where it is forgotten.
    pub report: Option<Report>,
}

/// The sending ends, by task.
#[derive(Default)]
pub struct Following {
    tellers: HashMap<TaskId, watch::Sender<Option<Arc<Standing>>>>,
    /// Nobody is told anything any more.
    dismissed: bool,
}

impl Following {
    /// One more follower of a task.
    pub fn join(&mut self, task: TaskId) -> watch::Receiver<Option<Arc<Standing>>> {
        if self.dismissed {
            return watch::channel(None).1;
        }
        self.tellers.entry(task).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Tells those who follow the task, where there are any.
    pub fn tell(&mut self, task: TaskId, standing: impl FnOnce() -> Standing) {
        let Some(teller) = self.tellers.get(&task) else { return };
        if teller.receiver_count() == 0 {
            self.tellers.remove(&task);
            return;
        }
        let standing = Arc::new(standing());
        let is_last = standing.task.state.is_finished();
        teller.send_replace(Some(standing));
        if is_last {
            self.tellers.remove(&task);
        }
    }

    /// Forgets the tasks that nobody follows any more.
    pub fn tidy(&mut self) {
        self.tellers.retain(|_, teller| teller.receiver_count() > 0);
    }

    /// Sends all away.
    pub fn dismiss(&mut self) {
        self.dismissed = true;
        self.tellers.clear();
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures::FutureExt;

    use super::*;
    use crate::task::{EndpointName, State};

    fn standing(state: State) -> Standing {
        let task = Task::submitted(TaskId::generate(), EndpointName::new("echo").unwrap(), DateTime::UNIX_EPOCH);
        Standing { task: Task { state, ..task }, report: None }
    }

    #[test]
    fn followers_see_the_latest_and_the_end_and_leave_nothing_behind() {
        let mut following = Following::default();
        let task = TaskId::generate();
        following.tell(task, || panic!("nobody follows it"));
        let mut slow = following.join(task);
        let gone = following.join(task);
        drop(gone);
        following.tell(task, || standing(State::InProgress));
        following.tell(task, || standing(State::Completed));
        assert_eq!(slow.changed().now_or_never().map(|news| news.is_ok()), Some(true));
        assert_eq!(slow.borrow_and_update().as_ref().unwrap().task.state, State::Completed);
        assert!(slow.has_changed().is_err(), "no more will come");
        assert!(following.tellers.is_empty());

        drop(following.join(task));
        following.tidy();
        assert!(following.tellers.is_empty());
        let waiting = following.join(task);
        following.dismiss();
        assert!(waiting.has_changed().is_err());
        assert!(following.join(task).has_changed().is_err());
        assert!(waiting.borrow().is_none());
    }
}
