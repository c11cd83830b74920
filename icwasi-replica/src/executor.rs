//! The thread that owns the execution core. Everything that touches canisters is a job for it:
//! calls, whose messages run one after the other in rounds; and reads, which are also done while a
//! message is paused.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
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
/// How long calls may go on when the replica stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Stack that canisters get, as on the IC.
pub const WASM_STACK: usize = 5 << 20;

type Job = Box<dyn FnOnce(&mut State) + Send>;
type ReadJob = Box<dyn FnOnce(&mut Core, &Shared) + Send>;

/// A query, or a look at a canister.
struct Read {
    /// Which canister it is about.
    canister: Option<Principal>,
    run: ReadJob,
}

/// What waits for the thread.
#[derive(Default)]
struct Queues {
    jobs: VecDeque<Job>,
    reads: VecDeque<Read>,
    /// No more jobs are taken; the thread ends when those that wait are done.
    stopping: bool,
    /// It has ended.
    ended: bool,
}

#[derive(Default)]
struct Waiting {
    queues: Mutex<Queues>,
    changed: Condvar,
}

impl Waiting {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        // Nothing that can panic is done while it is held.
        self.queues.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Does the reads that wait, but for those about a canister that is being installed, and
    /// those that come meanwhile.
    fn read(&self, core: &mut Core, shared: &Shared) {
        let count = self.queues().reads.len();
        let mut later = Vec::new();
        for _ in 0..count {
            let Some(read) = self.queues().reads.pop_front() else {
                break;
            };
            if read.canister.is_some_and(|id| !core.takes_queries(&id)) {
                later.push(read);
                continue;
            }
            core.set_time(shared.clock.round_time());
            (read.run)(core, shared);
        }
        if !later.is_empty() {
            let mut queues = self.queues();
            later
                .into_iter()
                .rev()
                .for_each(|r| queues.reads.push_front(r));
        }
    }
}

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

/// Is told how a call ended.
type Done = Box<dyn FnOnce(&mut State, Result<CallOutcome, UserError>) + Send>;

/// Calls that were not answered yet, by their numbers in the core.
#[derive(Default)]
pub struct OpenCalls(HashMap<u64, Done>);

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
    /// Calls that wait for their answers.
    pub calls: OpenCalls,
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

    /// Begins a call, so that a crash does not let it run twice; its number in the core. `done`
    /// is called when it is answered.
    pub fn open_call(
        &mut self,
        id: [u8; 32],
        done: impl FnOnce(&mut State, Result<CallOutcome, UserError>) + Send + 'static,
    ) -> u64 {
        let call = self.core.open_call();
        let entry = {
            let mut history = self.shared.history();
            history.processing(&id, self.shared.clock.now());
            history.get(&id).cloned()
        };
        if let (Some(store), Some(entry)) = (&self.store, entry) {
            persist::lock(store).begin(call, id, entry);
        }
        self.calls.0.insert(call, Box::new(done));
        call
    }

    /// Runs a round of messages, and tells who got an answer.
    fn advance(&mut self) {
        self.core.advance();
        for (call, outcome) in self.core.outcomes() {
            let Some(done) = self.calls.0.remove(&call) else {
                continue;
            };
            if let Some(store) = &self.store {
                persist::lock(store).end(call);
            }
            done(self, outcome);
        }
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
    waiting: Arc<Waiting>,
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

impl Executor {
    /// Starts the thread. `make` builds the state in it. `on_end` is called when the thread ends
    /// for whatever reason, a panic in a job included.
    pub fn spawn<E: Send + 'static>(
        make: impl FnOnce() -> Result<State, E> + Send + 'static,
        on_end: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Spawned<E>> {
        let waiting = Arc::new(Waiting::default());
        let queues = waiting.clone();
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("icwasi-executor".to_string())
            // Compiling and running wasm is deep; the guest's own stack comes on top.
            .stack_size(16 << 20)
            .spawn(move || {
                match make() {
                    Ok(mut state) => {
                        let _ = ready.send(Ok(()));
                        let (paused, shared) = (queues.clone(), state.shared.clone());
                        state
                            .core
                            .set_pause(Box::new(move |core| paused.read(core, &shared)));
                        let in_order = work(&mut state, &queues);
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
                end(&queues);
                on_end();
            })?;
        Ok(Spawned {
            executor: Self { waiting },
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
        let job: Job = Box::new(job);
        self.push(|queues| &mut queues.jobs, job)
    }

    /// Looks at canisters, or asks one of them a query, and waits for the answer. Also done while
    /// a long message is paused, on the state before it. `canister`: which one it is about.
    pub async fn read<T: Send + 'static>(
        &self,
        canister: Option<Principal>,
        read: impl FnOnce(&mut Core, &Shared) -> T + Send + 'static,
    ) -> Result<T, ExecutorError> {
        let (sender, receiver) = oneshot::channel();
        let run: ReadJob = Box::new(move |core: &mut Core, shared: &Shared| {
            let _ = sender.send(read(core, shared));
        });
        self.push(|queues| &mut queues.reads, Read { canister, run })?;
        receiver.await.map_err(|_| ExecutorError::Stopped)
    }

    fn push<T>(
        &self,
        queue: impl FnOnce(&mut Queues) -> &mut VecDeque<T>,
        what: T,
    ) -> Result<(), ExecutorError> {
        let mut queues = self.waiting.queues();
        if queues.stopping || queues.ended {
            return Err(ExecutorError::Stopped);
        }
        let queue = queue(&mut queues);
        if queue.len() >= QUEUE {
            return Err(ExecutorError::Busy);
        }
        queue.push_back(what);
        drop(queues);
        self.waiting.changed.notify_one();
        Ok(())
    }

    /// Ends the thread when the jobs that wait are done.
    pub fn stop(&self) {
        self.waiting.queues().stopping = true;
        self.waiting.changed.notify_one();
    }
}

/// Drops what nobody will do, so that who waits for it is told.
fn end(waiting: &Waiting) {
    let mut queues = waiting.queues();
    queues.ended = true;
    let left = (
        std::mem::take(&mut queues.jobs),
        std::mem::take(&mut queues.reads),
    );
    drop(queues);
    drop(left);
}

/// What the thread does next.
enum Next {
    /// Reads and a round, if there are any; and a job.
    Job(Option<Job>),
    Stop,
}

fn next(waiting: &Waiting, until: Instant) -> Next {
    let mut queues = waiting.queues();
    loop {
        if let Some(job) = queues.jobs.pop_front() {
            return Next::Job(Some(job));
        }
        if !queues.reads.is_empty() {
            return Next::Job(None);
        }
        if queues.stopping {
            return Next::Stop;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Next::Job(None);
        }
        queues = match waiting.changed.wait_timeout(queues, left) {
            Ok((queues, _)) => queues,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}

/// Returns whether it ended in order.
fn work(state: &mut State, waiting: &Waiting) -> bool {
    let mut next_round = Instant::now() + ROUND;
    let mut patience = None;
    loop {
        let now = Instant::now();
        // Canisters that call each other for ever do not keep the replica from stopping.
        let busy = !state.core.is_idle() && patience.is_none_or(|until| now < until);
        let job = match next(waiting, if busy { now } else { next_round }) {
            Next::Job(job) => job,
            Next::Stop if busy => {
                patience.get_or_insert(now + DRAIN);
                None
            }
            Next::Stop => return true,
        };
        let done = catch_unwind(AssertUnwindSafe(|| {
            let shared = state.shared.clone();
            waiting.read(&mut state.core, &shared);
            if let Some(job) = job {
                job(state);
            }
            state.advance();
        }));
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
    state.core.start_timers();
    let now = state.shared.clock.now();
    state.shared.history().prune(now);
}

/// Counts an executed update.
pub fn count_update(shared: &Shared) {
    shared.updates.fetch_add(1, Ordering::Relaxed);
}
