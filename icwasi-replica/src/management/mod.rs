//! The management canister `aaaaa-aa`: creation, code, settings, logs, snapshots.
//!
//! Called from outside ([`inspect`], [`ingress`], [`query`]) and by canisters ([`Hook`]).

mod code;
mod lifecycle;
mod method;
mod rates;
mod settings;
mod snapshot_files;
mod snapshots;
mod status;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use ic_management_canister_types as types;
use serde::de::DeserializeOwned;

use crate::core::{
    CallOutcome, Canister, Core, ErrorCode, ExecutionStats, ManagementHandler, ManagementReply,
    UserError,
};
use crate::executor::State;
use crate::fakes::{self, Fakes, Stage};
use crate::persist::{self, SharedStore};

pub use method::{Ingress, Method, Via};
use snapshot_files::SnapshotFiles;

/// What the management canister keeps besides the canisters.
pub struct Management {
    rng: ChaCha20Rng,
    /// Snapshots of canisters.
    snapshots: SnapshotFiles,
    /// Where it is told that a canister is gone.
    store: Option<SharedStore>,
    /// What the last installation consumed, and in which canister.
    installed: Option<(Principal, ExecutionStats)>,
    rates: rates::Rates,
}

impl Management {
    /// `raw_rand` follows from `seed`.
    ///
    /// Snapshots are kept in `snapshots`, or in a temporary directory.
    pub fn new(
        seed: [u8; 32],
        store: Option<SharedStore>,
        snapshots: Option<PathBuf>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            snapshots: SnapshotFiles::open(snapshots)?,
            rng: ChaCha20Rng::from_seed(seed),
            store,
            installed: None,
            rates: rates::Rates::default(),
        })
    }
}

/// One call.
struct Call<'a> {
    core: &'a mut Core,
    management: &'a mut Management,
    via: Via,
    sender: Principal,
    /// Cycles that came with it and were not taken yet.
    cycles: u128,
}

/// Lets canisters call the management canister and the stand-ins.
pub struct Hook {
    management: Arc<Mutex<Management>>,
    fakes: Arc<Mutex<Fakes>>,
}

impl Hook {
    /// A hook that works on `management` and `fakes`.
    pub fn new(management: Arc<Mutex<Management>>, fakes: Arc<Mutex<Fakes>>) -> Self {
        Self { management, fakes }
    }
}

impl ManagementHandler for Hook {
    fn call(
        &mut self,
        core: &mut Core,
        sender: Principal,
        method: &str,
        arg: &[u8],
        cycles: u128,
    ) -> ManagementReply {
        let mut management = self.management.lock().unwrap_or_else(|e| e.into_inner());
        let mut call = Call {
            core,
            management: &mut management,
            via: Via::Canister,
            sender,
            cycles,
        };
        match call.dispatch(method, arg) {
            Ok(reply) => ManagementReply {
                result: Ok(reply),
                refund: call.cycles,
            },
            // A rejected call gives everything back.
            Err(error) => ManagementReply {
                result: Err(error),
                refund: cycles,
            },
        }
    }

    fn stands_in(&self, id: &Principal) -> bool {
        fakes::stands_in(id)
    }

    fn call_stand_in(
        &mut self,
        core: &mut Core,
        id: &Principal,
        sender: Principal,
        method: &str,
        arg: &[u8],
        mut cycles: u128,
    ) -> ManagementReply {
        let all = cycles;
        let stage = Stage {
            core,
            management: &self.management,
            fakes: &mut self.fakes.lock().unwrap_or_else(|e| e.into_inner()),
            cycles: &mut cycles,
        };
        let result = fakes::call(stage, id, fakes::Kind::Update, sender, method, arg);
        ManagementReply {
            refund: if result.is_ok() { cycles } else { all },
            result,
        }
    }
}

/// Runs an ingress message that [`inspect`] let through.
pub fn ingress(
    state: &mut State,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, UserError> {
    outside(state, Via::Ingress, sender, method, arg)
}

/// Runs a query.
pub fn query(
    state: &mut State,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, UserError> {
    outside(state, Via::Query, sender, method, arg)
}

/// Creates a canister in the name of the canister `creator`, which pays `cycles`.
pub fn create_for(
    core: &mut Core,
    management: &Mutex<Management>,
    creator: Principal,
    settings: types::CanisterSettings,
    cycles: u128,
) -> Result<Principal, UserError> {
    let mut management = management.lock().unwrap_or_else(|e| e.into_inner());
    let mut call = Call {
        core,
        management: &mut management,
        via: Via::Canister,
        sender: creator,
        cycles,
    };
    let arg = types::CreateCanisterArgs {
        settings: Some(settings),
        sender_canister_version: None,
    };
    call.create(arg).map(|record| record.canister_id)
}

fn outside(
    state: &mut State,
    via: Via,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, UserError> {
    let management = state.management.clone();
    let mut management = management.lock().unwrap_or_else(|e| e.into_inner());
    let mut call = Call {
        core: &mut state.core,
        management: &mut management,
        via,
        sender,
        cycles: 0,
    };
    let result = call.dispatch(method, arg);
    if let Some((canister, stats)) = management.installed.take() {
        let outcome = Ok(CallOutcome {
            reply: Vec::new(),
            stats,
        });
        state.shared.note_stats(canister, method, &outcome);
    }
    result
}

/// Whether an ingress message to the management canister is let in. What is refused here leaves
/// no trace.
pub fn inspect(core: &Core, sender: Principal, method: &str, arg: &[u8]) -> Result<(), UserError> {
    let method = known(method)?;
    match method.ingress() {
        Ingress::Everybody => Ok(()),
        Ingress::Never => Err(UserError::new(
            ErrorCode::CanisterRejectedMessage,
            if method.is_query() {
                format!(
                    "{} can be called as a query or by a canister only",
                    method.name()
                )
            } else {
                format!("{} can be called by a canister only", method.name())
            },
        )),
        Ingress::Controllers => {
            let id = target(method, arg).map_err(payload_error)?;
            let Some(id) = id else { return Ok(()) };
            let canister = core
                .canister(&id)
                .ok_or_else(|| UserError::not_found(&id))?;
            must_control(canister, sender)
        }
        Ingress::Viewers => {
            let id = target(method, arg).map_err(payload_error)?;
            let Some(id) = id else { return Ok(()) };
            let canister = core
                .canister(&id)
                .ok_or_else(|| UserError::not_found(&id))?;
            let shown_to = match method {
                Method::CanisterStatus => &canister.settings.status_visibility,
                _ => &canister.settings.snapshot_visibility,
            };
            if shown_to.shows_to(canister, &sender) {
                Ok(())
            } else {
                must_control(canister, sender)
            }
        }
    }
}

/// Checks that the canister id in the path belongs to the call: the canister that the argument
/// names, any where it names none.
pub fn check_effective_id(method: &str, arg: &[u8], effective: Principal) -> Result<(), String> {
    let Some(method) = Method::parse(method) else {
        // It will be refused by name.
        return Ok(());
    };
    match target(method, arg)? {
        Some(id) if id != effective => Err(format!(
            "Specified CanisterId {id} does not match effective canister id {effective} in URL."
        )),
        _ => Ok(()),
    }
}

#[derive(CandidType, serde::Deserialize)]
struct ChunkedTarget {
    target_canister: Principal,
    #[serde(rename = "arg")]
    _arg: serde_bytes::ByteBuf,
}

/// The canister that a call is about.
fn target(method: Method, arg: &[u8]) -> Result<Option<Principal>, String> {
    match method {
        Method::CreateCanister
        | Method::ProvisionalCreateCanister
        | Method::RawRand
        | Method::SubnetInfo => Ok(None),
        // Blobs are named here so that they are taken in one piece; to skip them costs time and
        // quota for every byte.
        Method::InstallChunkedCode => {
            decode_raw::<ChunkedTarget>(arg).map(|arg| Some(arg.target_canister))
        }
        Method::InstallCode => {
            decode_raw::<code::InstallCode>(arg).map(|arg| Some(arg.canister_id))
        }
        Method::UploadSnapshotData => {
            #[derive(CandidType, serde::Deserialize)]
            struct Target {
                canister_id: Principal,
                #[serde(rename = "chunk")]
                _chunk: serde_bytes::ByteBuf,
            }
            decode_raw::<Target>(arg).map(|arg| Some(arg.canister_id))
        }
        Method::UploadChunk => {
            decode_raw::<types::UploadChunkArgs>(arg).map(|arg| Some(arg.canister_id))
        }
        _ => decode_raw::<types::CanisterIdRecord>(arg).map(|arg| Some(arg.canister_id)),
    }
}

fn known(name: &str) -> Result<Method, UserError> {
    if let Some(method) = Method::parse(name) {
        return Ok(method);
    }
    Err(if method::REFUSED.contains(&name) {
        UserError::new(
            ErrorCode::UnknownManagementMessage,
            format!("the local replica does not implement the management method {name}"),
        )
    } else {
        UserError::new(
            ErrorCode::CanisterMethodNotFound,
            format!("Management canister has no method '{name:.200}'"),
        )
    })
}

fn must_control(canister: &Canister, sender: Principal) -> Result<(), UserError> {
    if canister.is_controller(&sender) {
        return Ok(());
    }
    let list: Vec<String> = canister
        .settings
        .controllers
        .iter()
        .map(|c| c.to_string())
        .collect();
    Err(UserError::new(
        ErrorCode::CanisterInvalidController,
        format!(
            "Only the controllers of the canister {} can control it.\n\
             Canister's controllers: {}\n\
             Sender's ID: {sender}",
            canister.id,
            list.join(" ")
        ),
    ))
}

fn disk_error(error: &std::io::Error) -> UserError {
    UserError::new(
        ErrorCode::CanisterWasmEngineError,
        format!("the state directory could not be written: {error}"),
    )
}

fn payload_error(text: String) -> UserError {
    UserError::new(
        ErrorCode::InvalidManagementPayload,
        format!("Error decoding candid: {text:.1000}"),
    )
}

/// Decodes the one argument, with a bound on the work that a small hostile argument can cause.
fn decode_raw<T: DeserializeOwned + CandidType>(arg: &[u8]) -> Result<T, String> {
    let mut config = candid::DecoderConfig::new();
    config
        .set_skipping_quota(10_000)
        .set_full_error_message(false);
    candid::utils::decode_args_with_config::<(T,)>(arg, &config)
        .map(|(value,)| value)
        .map_err(|error| format!("{error:#}"))
}

fn decode<T: DeserializeOwned + CandidType>(arg: &[u8]) -> Result<T, UserError> {
    decode_raw(arg).map_err(payload_error)
}

fn encode<T: ArgumentEncoder>(value: T) -> Result<Vec<u8>, UserError> {
    candid::utils::encode_args(value).map_err(|error| {
        UserError::new(
            ErrorCode::CanisterContractViolation,
            format!("candid: {error}"),
        )
    })
}

impl Call<'_> {
    fn dispatch(&mut self, name: &str, arg: &[u8]) -> Result<Vec<u8>, UserError> {
        let method = known(name)?;
        if self.via == Via::Query && !method.is_query() {
            return Err(UserError::new(
                ErrorCode::CanisterMethodNotFound,
                format!("Query method {name} not found on the management canister"),
            ));
        }
        match method {
            Method::CreateCanister => encode((self.create(decode(arg)?)?,)),
            Method::ProvisionalCreateCanister => encode((self.provisional(decode(arg)?)?,)),
            Method::ProvisionalTopUp => encode_unit(self.top_up(decode(arg)?)?),
            Method::UpdateSettings => encode_unit(self.update_settings(decode(arg)?)?),
            Method::UploadChunk => encode((self.upload_chunk(decode(arg)?)?,)),
            Method::ClearChunkStore => encode_unit(self.clear_chunks(decode(arg)?)?),
            Method::StoredChunks => encode((self.stored_chunks(decode(arg)?)?,)),
            Method::InstallCode => encode_unit(self.install(decode(arg)?)?),
            Method::InstallChunkedCode => encode_unit(self.install_chunked(decode(arg)?)?),
            Method::UninstallCode => encode_unit(self.uninstall(decode(arg)?)?),
            Method::StartCanister => encode_unit(self.start(decode(arg)?)?),
            Method::StopCanister => encode_unit(self.stop(decode(arg)?)?),
            Method::DeleteCanister => encode_unit(self.delete(decode(arg)?)?),
            Method::CanisterStatus => encode((self.status(decode(arg)?)?,)),
            Method::CanisterInfo => encode((self.info(decode(arg)?)?,)),
            Method::CanisterMetadata => encode((self.metadata(decode(arg)?)?,)),
            Method::RawRand => encode((self.raw_rand(),)),
            Method::DepositCycles => encode_unit(self.deposit(decode(arg)?)?),
            Method::SubnetInfo => encode((self.subnet_info(decode(arg)?)?,)),
            Method::FetchCanisterLogs => encode((self.logs(decode(arg)?)?,)),
            Method::TakeSnapshot => encode((self.take_snapshot(decode(arg)?)?,)),
            Method::LoadSnapshot => encode_unit(self.load_snapshot(decode(arg)?)?),
            Method::ListSnapshots => encode((self.list_snapshots(decode(arg)?)?,)),
            Method::DeleteSnapshot => encode_unit(self.delete_snapshot(decode(arg)?)?),
            Method::ReadSnapshotMetadata => encode((self.snapshot_metadata(decode(arg)?)?,)),
            Method::ReadSnapshotData => encode((self.snapshot_data(decode(arg)?)?,)),
            Method::UploadSnapshotMetadata => encode((self.new_snapshot(decode(arg)?)?,)),
            Method::UploadSnapshotData => encode_unit(self.upload_snapshot(decode(arg)?)?),
        }
    }

    fn raw_rand(&mut self) -> serde_bytes::ByteBuf {
        let mut bytes = vec![0u8; 32];
        self.management.rng.fill_bytes(&mut bytes);
        serde_bytes::ByteBuf::from(bytes)
    }

    /// The canister `id`, if it exists.
    fn canister(&self, id: &Principal) -> Result<&Canister, UserError> {
        self.core
            .canister(id)
            .ok_or_else(|| UserError::not_found(id))
    }

    /// The canister `id`, if the sender controls it.
    fn controlled(&self, id: &Principal) -> Result<&Canister, UserError> {
        let canister = self.canister(id)?;
        must_control(canister, self.sender)?;
        Ok(canister)
    }

    /// Writes a change of a canister's public fields to disk.
    fn save(&mut self, id: &Principal) -> Result<(), UserError> {
        self.core.save(id)
    }

    /// Applies `change` to a canister and saves it. If that fails the change stands in memory, and
    /// the caller is told.
    fn change(
        &mut self,
        id: &Principal,
        change: impl FnOnce(&mut Canister),
    ) -> Result<(), UserError> {
        let canister = self
            .core
            .canister_mut(id)
            .ok_or_else(|| UserError::not_found(id))?;
        change(canister);
        self.save(id)
    }
}

fn encode_unit((): ()) -> Result<Vec<u8>, UserError> {
    encode(())
}
