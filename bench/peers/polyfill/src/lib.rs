//! stable-fs through ic-wasi-polyfill, around the workloads of `examples/bench`.

use ic_stable_structures::DefaultMemoryImpl;
use ic_stable_structures::memory_manager::MemoryManager;

#[path = "../../../../examples/bench/src/contents.rs"]
mod contents;
#[path = "../../../../examples/bench/src/device.rs"]
mod device;
#[path = "../../../../examples/bench/src/message.rs"]
mod message;
#[path = "../../../../examples/bench/src/names.rs"]
mod names;
#[path = "../../../../examples/bench/src/wasi.rs"]
mod wasi;

/// As in the library's own examples.
#[unsafe(export_name = "canister_init")]
extern "C" fn init() {
    let memories = MemoryManager::init(DefaultMemoryImpl::default());
    ic_wasi_polyfill::init_with_memory_manager(&[0; 32], &[], &memories, 1..11);
    #[cfg(feature = "mounted")]
    for file in 0..10_u8 {
        use ic_stable_structures::memory_manager::MemoryId;
        use ic_wasi_polyfill::{MountedFileSizePolicy, mount_memory_file};
        let name = wasi::Name::file(file.into());
        let name = std::str::from_utf8(name.bytes()).unwrap_or_default();
        let memory = Box::new(memories.get(MemoryId::new(20 + file)));
        if mount_memory_file(name, memory, MountedFileSizePolicy::MemoryPages) != 0 {
            message::trap("mount_memory_file");
        }
    }
}
