//! What becomes of a batch: when it is over.

use crate::task::BatchState;

/// What the sender of a batch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// All lines were sent.
    Whole,
    Cancel,
}

/// The state of a batch after its sender's word. One that is closed already stays as it is, but a running one can be
/// canceled.
pub fn closed(state: BatchState, closing: Closing) -> BatchState {
    match (state, closing) {
        (BatchState::Receiving, Closing::Whole) => BatchState::Running,
        (BatchState::Receiving | BatchState::Running, Closing::Cancel) => BatchState::Canceled,
        (BatchState::Running | BatchState::Completed | BatchState::Canceled, _) => state,
    }
}

/// The state of a batch that is finished now: `None` where it is not, since lines may come or tasks have not ended.
pub fn finished(state: BatchState, unfinished: u64) -> Option<BatchState> {
    match state {
        _ if unfinished > 0 => None,
        BatchState::Receiving => None,
        BatchState::Running | BatchState::Completed => Some(BatchState::Completed),
        BatchState::Canceled => Some(BatchState::Canceled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_over_when_all_lines_are_there_and_all_tasks_have_ended() {
        for state in BatchState::ALL {
            assert_eq!(finished(state, 1), None);
        }
        assert_eq!(finished(BatchState::Receiving, 0), None);
        assert_eq!(finished(BatchState::Running, 0), Some(BatchState::Completed));
        assert_eq!(finished(BatchState::Canceled, 0), Some(BatchState::Canceled));
    }

    #[test]
    fn a_batch_is_closed_once() {
        assert_eq!(closed(BatchState::Receiving, Closing::Whole), BatchState::Running);
        for state in [BatchState::Receiving, BatchState::Running] {
            assert_eq!(closed(state, Closing::Cancel), BatchState::Canceled);
        }
        for state in [BatchState::Completed, BatchState::Canceled] {
            assert_eq!((closed(state, Closing::Whole), closed(state, Closing::Cancel)), (state, state));
        }
    }
}
