//! Shared by the tests of the execution core.
#![allow(dead_code, reason = "each test file uses some of it")]

use candid::Principal;
use icwasi_replica::core::{
    CallOutcome, Core, CoreConfig, ErrorCode, ExecutionStats, InstallMode, Settings,
    UpgradeOptions, UserError,
};

pub fn core() -> Core {
    let mut core = Core::new(CoreConfig::default()).expect("a core");
    core.set_time(1_700_000_000_000_000_000);
    core
}

pub fn user() -> Principal {
    Principal::self_authenticating(b"a test key")
}

/// A core with one canister that has no code.
pub fn empty() -> (Core, Principal) {
    let mut core = core();
    let id = create(&mut core);
    (core, id)
}

pub fn create(core: &mut Core) -> Principal {
    let settings = Settings::new(vec![user()], core.limits());
    core.create_canister(user(), None, settings, 1_000_000_000_000)
        .expect("created")
}

pub fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

pub fn install(core: &mut Core, id: &Principal, text: &str) -> Result<ExecutionStats, UserError> {
    core.install_code(user(), id, InstallMode::Install, &wasm(text), &[])
}

pub fn upgrade(core: &mut Core, id: &Principal, text: &str) -> Result<ExecutionStats, UserError> {
    let mode = InstallMode::Upgrade(UpgradeOptions::default());
    core.install_code(user(), id, mode, &wasm(text), &[])
}

/// A canister with this code.
pub fn with(text: &str) -> (Core, Principal) {
    let (mut core, id) = empty();
    install(&mut core, &id, text).expect("installed");
    (core, id)
}

pub fn update(core: &mut Core, id: &Principal, method: &str) -> Result<CallOutcome, UserError> {
    core.update(id, user(), method, Vec::new())
}

pub fn query(core: &mut Core, id: &Principal, method: &str) -> Result<CallOutcome, UserError> {
    core.query(id, user(), method, Vec::new())
}

pub fn code(result: Result<CallOutcome, UserError>) -> ErrorCode {
    result.expect_err("an error").code
}

/// Instructions of a call, whether it was replied to or not.
pub fn instructions(result: Result<CallOutcome, UserError>) -> u64 {
    match result {
        Ok(outcome) => outcome.stats.instructions,
        Err(e) => e.stats.expect("it ran").instructions,
    }
}

/// Number in the first bytes of a reply.
pub fn number(outcome: &CallOutcome) -> u64 {
    let mut bytes = [0; 8];
    let n = outcome.reply.len().min(8);
    bytes[..n].copy_from_slice(&outcome.reply[..n]);
    u64::from_le_bytes(bytes)
}
