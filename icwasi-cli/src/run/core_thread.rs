//! The thread that owns the execution core: guests need more stack than other threads have.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use icwasi_replica::core::{Core, CoreError};
use tokio::sync::oneshot;

use super::RunError;

type Job = Box<dyn FnOnce(&mut Core) + Send>;

/// What the thread needs besides the guest's stack.
const OWN_STACK: usize = 2 << 20;

/// Sends work to the thread, which ends when all of these are gone.
#[derive(Clone)]
pub(super) struct CoreThread {
    jobs: Sender<Job>,
}

impl CoreThread {
    /// Starts the thread; `make` runs in it.
    pub fn start(
        wasm_stack: usize,
        make: impl FnOnce() -> Result<Core, CoreError> + Send + 'static,
    ) -> Result<Self, RunError> {
        let (jobs, queue) = channel::<Job>();
        let (tell, started) = channel();
        let body = move || {
            let mut core = match make() {
                Ok(core) => core,
                Err(error) => {
                    // Nobody listens only if the caller is gone.
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let _ = tell.send(Ok(()));
            for job in queue {
                job(&mut core);
            }
        };
        thread::Builder::new()
            .name("icwasi-core".to_owned())
            .stack_size(wasm_stack + OWN_STACK)
            .spawn(body)
            .map_err(|e| RunError::Core(e.to_string()))?;
        match started.recv() {
            Ok(Ok(())) => Ok(CoreThread { jobs }),
            Ok(Err(error)) => Err(RunError::Core(error.to_string())),
            Err(_) => Err(stopped()),
        }
    }

    /// Runs `work` in the thread.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> R + Send + 'static,
    ) -> Result<R, RunError> {
        let (tell, told) = oneshot::channel();
        let job = Box::new(move |core: &mut Core| {
            // Nobody listens only if the caller is gone.
            let _ = tell.send(work(core));
        });
        self.jobs.send(job).map_err(|_| stopped())?;
        told.await.map_err(|_| stopped())
    }
}

fn stopped() -> RunError {
    RunError::Core("the executing thread has ended".to_owned())
}
