//! The thread that owns the execution core. Everything that touches canisters is a job for it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candid::Principal;
use tokio::sync::oneshot;

use crate::certificate::Keys;
use crate::clock::Clock;
use crate::core::{CallOutcome, Core, ExecutionStats, UserError};
use crate::fakes::Fakes;
use crate::ingress::history::{IngressHistory, IngressStatus};
use crate::management::Management;
use crate::persist::{self, SharedStore};

/// Jobs that may wait. More are turned away; clients retry.
const QUEUE: usize = 4_096;
/// How often heartbeats run, and how late a timer may be.
const ROUND: Duration = Duration::from_millis(500);

/// Stack that canisters get, as on the IC.
pub const WASM_STACK: usize = 5 << 20;

type Job = Box<dyn FnOnce(&mut State) + Send>;

/// What all threads may use without asking the executor.
pub struct Shared {
    /// Keys of subnet and node.
    pub keys: Keys,
    /// Time.
    pub clock: Clock,
    /// Status of calls.
    pub history: Mutex<IngressHistory>,
    /// Instructions and sizes of the last message of a canister, with its method.
    pub last_stats: Mutex<HashMap<Principal, (String, ExecutionStats)>>,
    /// Update messages executed since the start.
    pub updates: AtomicU64,
    /// Largest ingress message, bytes.
    pub ingress_bytes: usize,
    /// How long the answer to a call waits for its outcome.
    pub sync_wait: Duration,
}

impl Shared {
    /// The status table.
    pub fn history(&self) -> MutexGuard<'_, IngressHistory> {
        // A panic while it was held leaves a table that is at worst one entry short.
        self.history
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes what a message of `canister` consumed.
    pub fn note_stats(
        &self,
        canister: Principal,
        method: &str,
        result: &Result<CallOutcome, UserError>,
    ) {
        let stats = match result {
            Ok(outcome) => Some(outcome.stats.clone()),
            Err(error) => error.stats.clone(),
        };
        if let Some(stats) = stats {
            let mut table = self.last_stats.lock().unwrap_or_else(|e| e.into_inner());
            table.insert(canister, (method.to_string(), stats));
        }
    }
}

/// What jobs work on.
pub struct State {
    /// Canisters.
    pub core: Core,
    /// What the management canister keeps besides canisters.
    pub management: Arc<Mutex<Management>>,
    /// Stand-ins for canisters of the IC.
    pub fakes: Arc<Mutex<Fakes>>,
    /// What everybody sees.
    pub shared: Arc<Shared>,
    /// The state directory, if there is one.
    pub store: Option<SharedStore>,
}

impl State {
    /// Sets the outcome of a call: first on disk, then for those who wait for it.
    pub fn finish_call(&mut self, id: [u8; 32], status: IngressStatus) {
        let now = self.shared.clock.now();
        if let Some(store) = &self.store {
            let entry = self.shared.history().get(&id).cloned();
            if let Some(mut entry) = entry {
                entry.status = status.clone();
                entry.changed = now;
                if let Err(error) = persist::lock(store).finish(id, &entry) {
                    tracing::error!("the outcome of a call could not be written: {error}");
                }
            }
        }
        self.shared.history().finish(&id, status, now);
    }

    /// Sets the time of the message that is about to run.
    pub fn begin_message(&mut self) {
        self.core.set_time(self.shared.clock.message_time());
    }
}

/// Why a job was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExecutorError {
    /// Too many jobs wait.
    #[error("the replica is overloaded; try again")]
    Busy,
    /// The executor has ended.
    #[error("the replica is stopping")]
    Stopped,
}

/// Sends jobs to the executor; cheap to clone.
#[derive(Clone)]
pub struct Executor {
    jobs: SyncSender<Message>,
}

/// A thread that was started.
pub struct Spawned<E> {
    /// Sends jobs to it.
    pub executor: Executor,
    /// Tells whether the state could be built.
    pub ready: oneshot::Receiver<Result<(), E>>,
    /// To wait for its end.
    pub thread: JoinHandle<()>,
}

enum Message {
    Job(Job),
    Stop,
}

impl Executor {
    /// Starts the thread. `make` builds the state in it. `on_end` is called when the thread ends
    /// for whatever reason, a panic in a job included.
    pub fn spawn<E: Send + 'static>(
        make: impl FnOnce() -> Result<State, E> + Send + 'static,
        on_end: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Spawned<E>> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("icwasi-executor".to_string())
            // Compiling and running wasm is deep; the guest's own stack comes on top.
            .stack_size(16 << 20)
            .spawn(move || {
                match make() {
                    Ok(mut state) => {
                        let _ = ready.send(Ok(()));
                        let in_order = work(&mut state, &queue);
                        if let Some(store) = &state.store
                            && in_order
                            && let Err(error) = persist::lock(store).checkpoint()
                        {
                            tracing::warn!("no checkpoint at the end: {error}");
                        }
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
                on_end();
            })?;
        Ok(Spawned {
            executor: Self { jobs },
            ready: is_ready,
            thread,
        })
    }

    /// Queues `job` and waits for what it returns.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, ExecutorError> {
        let (sender, receiver) = oneshot::channel();
        self.queue(move |state| {
            let _ = sender.send(job(state));
        })?;
        receiver.await.map_err(|_| ExecutorError::Stopped)
    }

    /// Queues `job` without waiting.
    pub fn queue(
        &self,
        job: impl FnOnce(&mut State) + Send + 'static,
    ) -> Result<(), ExecutorError> {
        self.jobs
            .try_send(Message::Job(Box::new(job)))
            .map_err(|error| match error {
                TrySendError::Full(_) => ExecutorError::Busy,
                TrySendError::Disconnected(_) => ExecutorError::Stopped,
            })
    }

    /// Ends the thread when the jobs that wait are done.
    pub fn stop(&self) {
        let _ = self.jobs.send(Message::Stop);
    }
}

/// Returns whether it ended in order.
fn work(state: &mut State, queue: &Receiver<Message>) -> bool {
    let mut next_round = Instant::now() + ROUND;
    loop {
        let wait = next_round.saturating_duration_since(Instant::now());
        let done = match queue.recv_timeout(wait) {
            Ok(Message::Job(job)) => catch_unwind(AssertUnwindSafe(|| job(state))),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => Ok(()),
        };
        let done = done.and_then(|()| {
            if Instant::now() < next_round {
                return Ok(());
            }
            next_round = Instant::now() + ROUND;
            catch_unwind(AssertUnwindSafe(|| round(state)))
        });
        if done.is_err() {
            // What a half-done job left in memory is not to be trusted; what is on disk is.
            tracing::error!("a bug: the executor panicked; the replica stops");
            return false;
        }
    }
}

/// What happens from time to time without a request.
fn round(state: &mut State) {
    state.core.set_time(state.shared.clock.round_time());
    state.core.run_timers();
    let now = state.shared.clock.now();
    state.shared.history().prune(now);
}

/// Counts an executed update.
pub fn count_update(shared: &Shared) {
    shared.updates.fetch_add(1, Ordering::Relaxed);
}
