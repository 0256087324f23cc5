//! Rings when there may be something to do: whoever hears it looks.

use std::sync::Arc;

use tokio::sync::Notify;

/// One bell for all who hold a clone. A ring that nobody waits for is heard by the next who does.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits for a ring.
    #[cfg(feature = "http")]
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}
