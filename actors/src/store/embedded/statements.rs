//! The writer's statements, prepared once: looking one up by its text would cost as much as running it.

use rusqlite::{Connection, Statement};

pub(super) struct Statements<'c> {
    pub begin: Statement<'c>,
    pub commit: Statement<'c>,
    pub rollback: Statement<'c>,

    pub task_by_id: Statement<'c>,
    pub task_by_key: Statement<'c>,
    pub insert_endpoint: Statement<'c>,
    pub insert_task: Statement<'c>,
    pub insert_input: Statement<'c>,
    pub copy_input: Statement<'c>,
    pub insert_output: Statement<'c>,
    pub insert_tag: Statement<'c>,

    pub next_priority: Statement<'c>,
    pub due_tasks: Statement<'c>,
    pub next_due: Statement<'c>,
    pub claim_task: Statement<'c>,
    pub lapsed_tasks: Statement<'c>,
    pub release_task: Statement<'c>,
    pub overdue_tasks: Statement<'c>,
    pub next_overdue: Statement<'c>,

    pub start_task: Statement<'c>,
    pub start_task_late: Statement<'c>,
    pub put_back_task: Statement<'c>,
    pub finish_task: Statement<'c>,
    pub request_cancel: Statement<'c>,
    pub insert_attempt: Statement<'c>,
    pub delete_attempts: Statement<'c>,

    pub expired_tasks: Statement<'c>,
    pub delete_task: Statement<'c>,
    pub delete_input: Statement<'c>,
    pub delete_output: Statement<'c>,
    pub delete_tag: Statement<'c>,

    pub add_to_tally: Statement<'c>,
    pub close_node: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            rollback: prepare("ROLLBACK")?,
            task_by_id: prepare(include_str!("task_by_id.sql"))?,
            task_by_key: prepare(include_str!("task_by_key.sql"))?,
            insert_endpoint: prepare(include_str!("insert_endpoint.sql"))?,
            insert_task: prepare(include_str!("insert_task.sql"))?,
            insert_input: prepare(include_str!("insert_input.sql"))?,
            copy_input: prepare(include_str!("copy_input.sql"))?,
            insert_output: prepare(include_str!("insert_output.sql"))?,
            insert_tag: prepare(include_str!("insert_tag.sql"))?,
            next_priority: prepare(include_str!("next_priority.sql"))?,
            due_tasks: prepare(include_str!("due_tasks.sql"))?,
            next_due: prepare(include_str!("next_due.sql"))?,
            claim_task: prepare(include_str!("claim_task.sql"))?,
            lapsed_tasks: prepare(include_str!("lapsed_tasks.sql"))?,
            release_task: prepare(include_str!("release_task.sql"))?,
            overdue_tasks: prepare(include_str!("overdue_tasks.sql"))?,
            next_overdue: prepare(include_str!("next_overdue.sql"))?,
            start_task: prepare(include_str!("start_task.sql"))?,
            start_task_late: prepare(include_str!("start_task_late.sql"))?,
            put_back_task: prepare(include_str!("put_back_task.sql"))?,
            finish_task: prepare(include_str!("finish_task.sql"))?,
            request_cancel: prepare(include_str!("request_cancel.sql"))?,
            insert_attempt: prepare(include_str!("insert_attempt.sql"))?,
            delete_attempts: prepare(include_str!("delete_attempts.sql"))?,
            expired_tasks: prepare(include_str!("expired_tasks.sql"))?,
            delete_task: prepare(include_str!("delete_task.sql"))?,
            delete_input: prepare(include_str!("delete_input.sql"))?,
            delete_output: prepare(include_str!("delete_output.sql"))?,
            delete_tag: prepare(include_str!("delete_tag.sql"))?,
            add_to_tally: prepare(include_str!("add_to_tally.sql"))?,
            close_node: prepare(include_str!("close_node.sql"))?,
        })
    }
}
