//! A running replica: executor thread and HTTP server.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::serve::ListenerExt;
use candid::Principal;
use tokio::sync::watch;

use crate::certificate::{DataCertificates, KeyError, Keys, SecretKeys};
use crate::clock::Clock;
use crate::core::{Core, CoreConfig, CoreError, ExecutionStats, Limits};
use crate::executor::{Executor, OpenCalls, Shared, Spawned, State, WASM_STACK};
use crate::fakes::Fakes;
use crate::http::AppState;
use crate::http::certifier::Certifier;
use crate::ingress::history::IngressHistory;
use crate::management::{Hook, Management};
use crate::persist::{self, RestoreError, StateDir, StateError, Store, StoreJournal};

/// The counter in the first canister id that is given out; gives `bkyz2-fmaaa-aaaaa-qaaaq-cai`.
const FIRST_CANISTER: u64 = 0x8000_0000_0010_0001;
/// How long open connections may finish when the replica stops.
const DRAIN: Duration = Duration::from_secs(2);

/// How a replica is started.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where the state is kept. Without it, nothing survives.
    pub state_dir: Option<PathBuf>,
    /// Where compiled modules are kept; defaults to `compiled/` in the state directory.
    pub compile_cache: Option<PathBuf>,
    /// Keys, randomness and the time that canisters see depend on nothing but the messages.
    pub deterministic: bool,
    /// Wait for the disk at every message, so that a power failure loses nothing either. Without
    /// it only the process may die at any time.
    pub sync: bool,
    /// How long the answer to a call waits for the outcome before the client is told to poll; the
    /// IC waits ten seconds. Zero: not at all.
    pub sync_wait: Duration,
    /// Limits and fees.
    pub limits: Limits,
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            state_dir: None,
            compile_cache: None,
            deterministic: false,
            sync: false,
            sync_wait: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be used.
    #[error(
        "cannot listen on {address}: {source}; choose another address or port; port 0 is a free one"
    )]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The execution core.
    #[error("the execution core did not start: {0}")]
    Core(#[from] CoreError),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system has no randomness or no threads to give.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// A running replica. Dropping it without [`Replica::stop`] stops it as well, without waiting.
pub struct Replica {
    address: SocketAddr,
    shared: Arc<Shared>,
    executor: Executor,
    thread: Option<JoinHandle<()>>,
    server: Option<tokio::task::JoinHandle<()>>,
    shutdown: watch::Sender<bool>,
}

impl Replica {
    /// Starts a replica and returns when it answers requests.
    pub async fn start(options: ReplicaOptions) -> Result<Self, StartError> {
        let listener = tokio::net::TcpListener::bind(options.bind)
            .await
            .map_err(|source| StartError::Bind {
                address: options.bind,
                source,
            })?;
        let address = listener.local_addr()?;

        let seed = if options.deterministic {
            [0x1c; 32]
        } else {
            random_seed()?
        };
        let dir = options
            .state_dir
            .as_deref()
            .map(StateDir::open)
            .transpose()?;
        let secrets = match &dir {
            Some(dir) => dir.keys(seed)?,
            None => SecretKeys::from_seed(seed),
        };
        let shared = Arc::new(Shared {
            keys: Keys::new(&secrets)?,
            clock: Clock::new(options.deterministic),
            history: Mutex::new(IngressHistory::default()),
            last_stats: Mutex::new(HashMap::new()),
            updates: AtomicU64::new(0),
            ingress_bytes: options.limits.ingress_bytes,
            sync_wait: options.sync_wait,
        });

        let (shutdown, mut stopping) = watch::channel(false);
        let on_end = shutdown.clone();
        let in_thread = shared.clone();
        let rng_seed = if options.deterministic {
            [0x2d; 32]
        } else {
            random_seed()?
        };
        let Spawned {
            executor,
            ready,
            thread,
        } = Executor::spawn(
            move || make_state(&options, dir, in_thread, rng_seed),
            move || {
                on_end.send_replace(true);
            },
        )?;
        match ready.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(std::io::Error::other("the executor ended at once").into()),
        }

        let router = crate::http::router(AppState {
            shared: shared.clone(),
            executor: executor.clone(),
            certifier: Certifier::spawn(shared.clone())?,
        });
        let server = tokio::spawn(async move {
            let until = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let listener = listener.tap_io(|stream| {
                // An answer must not wait for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("TCP_NODELAY: {error}");
                }
            });
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(until)
                .await;
            if let Err(error) = served {
                tracing::error!("the HTTP server ended: {error}");
            }
        });
        tracing::info!("replica listens on http://{address}");
        Ok(Self {
            address,
            shared,
            executor,
            thread: Some(thread),
            server: Some(server),
            shutdown,
        })
    }

    /// Where clients reach it, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root public key, DER, 133 bytes.
    pub fn root_key(&self) -> Vec<u8> {
        self.shared.keys.root_der().to_vec()
    }

    /// Method and measurements of the last message that `canister` ran for a client (query or
    /// update, install included). For benchmarks.
    pub fn last_stats(&self, canister: Principal) -> Option<(String, ExecutionStats)> {
        let table = self
            .shared
            .last_stats
            .lock()
            .unwrap_or_else(|e| e.into_inner());
        table.get(&canister).cloned()
    }

    /// Waits until the replica ends by itself, which only a fault inside makes it do.
    pub async fn wait_for_shutdown(&self) {
        let mut stopping = self.shutdown.subscribe();
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Finishes the messages that were accepted, then stops.
    pub async fn stop(mut self) -> std::io::Result<()> {
        self.shutdown.send_replace(true);
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(DRAIN, &mut server).await.is_err()
        {
            server.abort();
        }
        let executor = self.executor.clone();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || {
                executor.stop();
                thread.join()
            })
            .await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(std::io::Error::other("the executor thread panicked"));
            }
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
        if let Some(server) = self.server.take() {
            server.abort();
        }
        // Not to block: the thread ends after the job it is at.
        let executor = self.executor.clone();
        if self.thread.take().is_some() {
            std::thread::spawn(move || executor.stop());
        }
    }
}

impl From<RestoreError> for StartError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::State(error) => Self::State(error),
            RestoreError::Core(error) => Self::Core(error),
        }
    }
}

fn random_seed() -> std::io::Result<[u8; 32]> {
    use std::io::Read;
    let mut seed = [0u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// Builds what the executor thread owns.
fn make_state(
    options: &ReplicaOptions,
    dir: Option<StateDir>,
    shared: Arc<Shared>,
    rng_seed: [u8; 32],
) -> Result<State, StartError> {
    let snapshots = dir.as_ref().map(|dir| dir.path("snapshots"));
    let compiled = dir.as_ref().map(|dir| dir.path("compiled"));
    let mut first_canister = FIRST_CANISTER;
    let mut store = None;
    if let Some(dir) = dir {
        let (opened, recovered) = Store::open(dir, shared.clone(), options.sync)?;
        first_canister = first_canister.max(recovered.next_canister);
        shared.clock.resume(recovered.now);
        for (id, entry) in recovered.calls {
            shared.history().restore(id, entry);
        }
        store = Some(Arc::new(Mutex::new(opened)));
    }
    let mut core = Core::new(CoreConfig {
        limits: Limits {
            // The default suits threads with little stack; the executor has its own.
            wasm_stack_bytes: WASM_STACK,
            ..options.limits.clone()
        },
        compile_cache: options.compile_cache.clone().or(compiled),
        // Speed is what it is measured by.
        quick_compile: false,
        scratch_dir: None,
        first_canister,
    })?;
    core.set_time(shared.clock.round_time());
    if let Some(store) = &store {
        core.set_journal(Box::new(StoreJournal(store.clone())));
        persist::restore(store, &mut core)?;
        persist::lock(store).checkpoint()?;
    }
    let management = Arc::new(Mutex::new(Management::new(
        rng_seed,
        store.clone(),
        snapshots,
    )?));
    let fakes = Arc::new(Mutex::new(Fakes::default()));
    core.set_management(Box::new(Hook::new(management.clone(), fakes.clone())));
    core.set_subnet(shared.keys.subnet_id(), shared.keys.root_der().to_vec());
    let clock = shared.clone();
    core.set_clock(Box::new(move || clock.clock.round_time()));
    let certificates = DataCertificates::new(shared.clone());
    core.set_data_certificate(Arc::new(move |id, data| Some(certificates.get(id, data))));
    core.set_print(Arc::new(|id, _time, text| {
        tracing::info!(target: "canister", "[{id}] {}", String::from_utf8_lossy(text));
    }));
    Ok(State {
        core,
        management,
        fakes,
        shared,
        store,
        calls: OpenCalls::default(),
    })
}
