//! Keeps a flood of messages from starving an actor's timers and its neighbours on the thread.

use actix::{Actor, AsyncContext, Context};

/// How many messages an actor takes in a row.
const IN_A_ROW: u32 = 64;

/// Counts the messages an actor has taken since it last let others have a turn. Left alone, an actor whose mailbox
/// is never empty never yields.
#[derive(Debug, Default)]
pub struct Turns(u32);

impl Turns {
    /// Counts one more message; every so often the actor pauses until the others on its thread were served.
    pub fn count<A: Actor<Context = Context<A>>>(&mut self, ctx: &mut Context<A>) {
        self.0 += 1;
        if self.0 >= IN_A_ROW {
            self.0 = 0;
            ctx.wait(actix::fut::wrap_future(tokio::task::yield_now()));
        }
    }
}
