//! What the journal is told is enough to put a canister back.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::common::*;
use candid::Principal;
use icwasi_replica::core::{
    CanisterRecord, Commit, Core, CoreConfig, ErrorCode, GlobalValue, Journal, SavedMemory,
};

#[derive(Default, Clone)]
struct Saved {
    module: Vec<u8>,
    globals: Vec<GlobalValue>,
    heap: Vec<u8>,
    stable: Vec<u8>,
    version: u64,
    fail: bool,
    heap_ranges: usize,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<Principal, Saved>>>);

fn apply(memory: &mut Vec<u8>, reset: bool, len: u64, ranges: &[(u64, &[u8])]) {
    if reset {
        memory.clear();
    }
    memory.resize(len as usize, 0);
    for (offset, bytes) in ranges {
        memory[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

impl Journal for Memory {
    fn commit(&mut self, commit: &Commit<'_>) -> io::Result<()> {
        let mut all = self.0.lock().expect("not poisoned");
        let saved = all.entry(commit.canister.id).or_default();
        if saved.fail {
            return Err(io::ErrorKind::StorageFull.into());
        }
        saved.module = commit
            .canister
            .module()
            .map(|m| m.to_vec())
            .unwrap_or_default();
        saved.globals = commit.globals.to_vec();
        saved.version = commit.canister.version;
        saved.heap_ranges = commit.heap.iter().map(|(_, b)| b.len()).sum();
        apply(
            &mut saved.heap,
            commit.reset_heap,
            commit.heap_bytes,
            &commit.heap,
        );
        apply(
            &mut saved.stable,
            commit.reset_stable,
            commit.stable_bytes,
            &commit.stable,
        );
        Ok(())
    }

    fn stable_file(&mut self, _id: &Principal) -> io::Result<Option<PathBuf>> {
        Ok(None)
    }
}

const MODULE: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (memory 20)
    (global $g (mut i32) (i32.const 0))
    (data (i32.const 8) "data")
    (func $show
        (i32.store (i32.const 4) (global.get $g))
        (call $read (i64.const 16) (i64.const 100000) (i64.const 4))
        (call $append (i32.const 0) (i32.const 20)) (call $reply))
    (func (export "canister_init") (drop (call $grow (i64.const 2))))
    (func (export "canister_update bump")
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (i32.store (i32.const 1000000) (i32.load (i32.const 0)))
        (global.set $g (i32.add (global.get $g) (i32.const 1)))
        (call $write (i64.const 100000) (i64.const 0) (i64.const 4))
        (call $show))
    (func (export "canister_query show") (call $show)))"#;

#[test]
fn a_canister_comes_back() {
    let (mut core, journal) = (core(), Memory::default());
    core.set_journal(Box::new(journal.clone()));
    let id = create(&mut core);
    install(&mut core, &id, MODULE).expect("installed");
    for _ in 0..3 {
        update(&mut core, &id, "bump").expect("replied");
    }
    let shown = query(&mut core, &id, "show").expect("replied").reply;
    assert_eq!(shown, b"\x03\0\0\0\x03\0\0\0data\0\0\0\0\x03\0\0\0");
    let saved = journal.0.lock().expect("not poisoned")[&id].clone();
    assert!(
        saved.heap_ranges <= 65_536,
        "only what was touched: {}",
        saved.heap_ranges
    );
    let old = core.canister(&id).expect("exists");
    assert_eq!(saved.version, old.version);
    let record = CanisterRecord {
        id,
        settings: old.settings.clone(),
        cycles: old.cycles,
        status: old.status,
        version: saved.version,
        certified_data: vec![],
        log: old.log.clone(),
        chunk_store: BTreeMap::new(),
        history: old.history.clone(),
        created_at: old.created_at,
        installed_at: old.installed_at,
        global_timer: 0,
    };
    let read = |from: Vec<u8>| {
        move |offset: u64, out: &mut [u8]| {
            out.copy_from_slice(&from[offset as usize..][..out.len()]);
            Ok(())
        }
    };
    let mut restored = Core::new(CoreConfig::default()).expect("a core");
    restored
        .restore_canister(
            record,
            Some(SavedMemory {
                module: &saved.module,
                globals: &saved.globals,
                heap_bytes: saved.heap.len() as u64,
                heap: &mut read(saved.heap.clone()),
                stable_bytes: saved.stable.len() as u64,
                stable: Some(&mut read(saved.stable.clone())),
            }),
        )
        .expect("restored");
    assert_eq!(
        query(&mut restored, &id, "show").expect("replied").reply,
        shown
    );
    let next = update(&mut restored, &id, "bump").expect("replied").reply;
    assert_eq!(next, b"\x04\0\0\0\x04\0\0\0data\0\0\0\0\x04\0\0\0");
    // The same into the first core, as a snapshot is loaded: it goes back to 3.
    update(&mut core, &id, "bump").expect("replied");
    let memory = SavedMemory {
        module: &saved.module,
        globals: &saved.globals,
        heap_bytes: saved.heap.len() as u64,
        heap: &mut read(saved.heap.clone()),
        stable_bytes: saved.stable.len() as u64,
        stable: Some(&mut read(saved.stable.clone())),
    };
    core.load_state(&id, memory, vec![1]).expect("loaded");
    assert_eq!(query(&mut core, &id, "show").expect("replied").reply, shown);
    let journalled = journal.0.lock().expect("not poisoned")[&id].clone();
    assert!(journalled.heap == saved.heap && journalled.stable == saved.stable);
}

/// A full disk fails the message, which is then as if it had not been.
#[test]
fn what_cannot_be_saved_is_undone() {
    let (mut core, journal) = (core(), Memory::default());
    core.set_journal(Box::new(journal.clone()));
    let id = create(&mut core);
    install(&mut core, &id, MODULE).expect("installed");
    update(&mut core, &id, "bump").expect("replied");
    let shown = query(&mut core, &id, "show").expect("replied").reply;
    let fail = |on: bool| {
        journal
            .0
            .lock()
            .expect("not poisoned")
            .get_mut(&id)
            .expect("saved")
            .fail = on;
    };
    fail(true);
    assert_eq!(
        code(update(&mut core, &id, "bump")),
        ErrorCode::CanisterWasmEngineError
    );
    upgrade(&mut core, &id, MODULE).expect_err("cannot be saved");
    fail(false);
    assert_eq!(query(&mut core, &id, "show").expect("replied").reply, shown);
    update(&mut core, &id, "bump").expect("replied");
}
