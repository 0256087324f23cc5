//! Follows a task through its events, from any of them to the last.
//!
//! It holds the receiving end of what the Registry tells, and reads in the store what it missed: a follower that is
//! slow, or comes back after a restart, still gets every event that is on record. What an attempt told of itself it gets
//! as far as that is still at hand.

use std::sync::Arc;

use actix::Addr;
use tokio::sync::watch;

use crate::events::{Event, EventId, events, needs_attempts};
use crate::registry::{Attempts, Follow, Followed, RegistryActor, Standing};
use crate::store::StoreError;
use crate::task::{Task, TaskId};

/// Follows one task. See the module's own words.
pub struct Follower {
    registry: Addr<RegistryActor>,
    task: TaskId,
    standing: Arc<Standing>,
    news: watch::Receiver<Option<Arc<Standing>>>,
    /// The last event that was given out.
    last: Option<EventId>,
    is_over: bool,
}

impl Follower {
    /// Begins to follow a task after one of its events, or from the first; `None` for a task that is not known.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn new(
        registry: Addr<RegistryActor>,
        task: TaskId,
        after: Option<EventId>,
    ) -> Result<Option<Self>, StoreError> {
        let followed = ask(&registry, task).await?;
        Ok(followed.map(|Followed { standing, news }| Self {
            registry,
            task,
            standing,
            news,
            last: after,
            is_over: false,
        }))
    }

    /// How the task stands, as far as is known here.
    pub fn task(&self) -> &Task {
        &self.standing.task
    }

    /// The next events, one at least, as soon as there are some; `None` after the last one, and when this node drains.
    /// May be dropped while it waits, and asked again.
    ///
    /// # Errors
    /// The store could not be read; it may be asked again.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, StoreError> {
        while !self.is_over {
            let new = self.new_events().await?;
            if let Some(last) = new.last() {
                self.last = Some(last.id);
                self.is_over = last.what.is_last();
                return Ok(Some(new));
            }
            if self.standing.task.state.is_finished() {
                self.is_over = true;
            } else {
                self.wait().await;
            }
        }
        Ok(None)
    }

    /// Asks anew how the task stands, should what was told have been lost.
    ///
    /// # Errors
    /// The store could not be read; it may be asked again.
    pub async fn refresh(&mut self) -> Result<(), StoreError> {
        match ask(&self.registry, self.task).await? {
            Some(Followed { standing, news }) => (self.standing, self.news) = (standing, news),
            // It was deleted: nothing more will be heard of it.
            None => self.is_over = true,
        }
        Ok(())
    }

    async fn new_events(&self) -> Result<Vec<Event>, StoreError> {
        let Standing { task, report } = &*self.standing;
        let attempts = if needs_attempts(task, self.last) {
            self.registry.send(Attempts { task: self.task }).await.unwrap_or(Err(StoreError::Closed))?
        } else {
            Vec::new()
        };
        Ok(events(task, &attempts, report.as_ref(), self.last))
    }

    /// Waits until the task stands otherwise, or its report has something new.
    async fn wait(&mut self) {
        if self.news.changed().await.is_err() {
            self.is_over = true;
        }
        if let Some(standing) = self.news.borrow_and_update().clone() {
            self.standing = standing;
        }
    }
}

async fn ask(registry: &Addr<RegistryActor>, task: TaskId) -> Result<Option<Followed>, StoreError> {
    registry.send(Follow { task }).await.unwrap_or(Err(StoreError::Closed))
}
