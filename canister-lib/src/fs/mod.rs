//! The file system on one [`Memory`].
use ic_stable_structures::Memory;
