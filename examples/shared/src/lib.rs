//! A canister that has kept its data in stable structures, and now also has files.
//!
//! Its memories 0 and 1 hold a map and raw bytes of its own; the file system gets memory 8, and
//! the raw bytes are the file `/data/raw.bin` as well. The map and the files do not meet.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};

use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{DefaultMemoryImpl, StableBTreeMap};

type Stable = VirtualMemory<DefaultMemoryImpl>;

/// Pages in a bucket of a new memory manager: what the smallest memory costs.
const BUCKET_PAGES: u16 = 4;
const MAP: MemoryId = MemoryId::new(0);
const RAW: MemoryId = MemoryId::new(1);

thread_local! {
    static MANAGER: MemoryManager<DefaultMemoryImpl> =
        MemoryManager::init_with_bucket_size(DefaultMemoryImpl::default(), BUCKET_PAGES);
    static ENTRIES: RefCell<StableBTreeMap<u64, String, Stable>> =
        RefCell::new(StableBTreeMap::init(MANAGER.with(|manager| manager.get(MAP))));
}

#[ic_cdk::init]
fn init() {
    MANAGER.with(|manager| {
        if let Err(error) = icwasi::init_with_memory_manager(manager, 8..12) {
            ic_cdk::api::trap(format!("no files: {error}"));
        }
        if let Err(error) = icwasi::mount_memory("/data/raw.bin", manager.get(RAW)) {
            ic_cdk::api::trap(format!("no file of raw bytes: {error}"));
        }
    });
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    init();
}

/// A value of the map.
#[ic_cdk::query]
fn get(key: u64) -> Option<String> {
    ENTRIES.with_borrow(|entries| entries.get(&key))
}

/// Sets a value of the map.
#[ic_cdk::update]
fn put(key: u64, value: String) {
    ENTRIES.with_borrow_mut(|entries| entries.insert(key, value));
}

/// The content of a file.
#[ic_cdk::query]
fn read(path: String) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| error.to_string())
}

/// Creates or overwrites a file from its start on.
#[ic_cdk::update]
fn write(path: String, content: Vec<u8>) -> Result<(), String> {
    use std::io::Write;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    file.and_then(|mut file| file.write_all(&content))
        .map_err(|error| error.to_string())
}

/// Cuts or lengthens a file.
#[ic_cdk::update]
fn set_len(path: String, length: u64) -> Result<(), String> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(length))
        .map_err(|error| error.to_string())
}
