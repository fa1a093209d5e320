//! A thread with a runtime for what must go on while the thread of a test blocks.

use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

/// Work on a thread of its own. Ended, with all it spawned, when dropped.
pub struct Background {
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Begins it. The future is made on the thread, inside the runtime.
    pub fn begin<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> Self {
        let end = CancellationToken::new();
        let until = end.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(until.run_until_cancelled(async { work().await }));
        });
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            // A panic in a panic would abort and hide the first one.
            if !std::thread::panicking() {
                ended.expect("the background ended well");
            }
        }
    }
}
