//! Threads of its own for a room: no report or page of another one keeps a heartbeat or a probe waiting.

use tokio::runtime::{Builder, Runtime};

/// A runtime beside the program's. Dropped, it ends without waiting for its tasks.
#[derive(Debug)]
pub(crate) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    /// Half of the cores, one at least: the others are left to the threads that write (log, state, storage engine, series).
    /// With few workers, what one task hands to the next mostly stays on its core and wakes no other. (Where probes are few
    /// and far between, that waking cost as much as the probes.) `room` names the threads.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(room: &str) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads((cores / 2).max(1)).thread_name(room).enable_all();
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    /// Makes something that spawns tasks: they run on these threads.
    pub(crate) fn make<T>(&self, make: impl FnOnce() -> T) -> T {
        let _inside = self.0.as_ref().map(Runtime::enter);
        make()
    }

    /// Runs a task, and all that it spawns, on these threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let runtime = self.0.as_ref().ok_or_else(|| anyhow::anyhow!("the runtime has ended"))?;
        Ok(runtime.spawn(task).await?)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
