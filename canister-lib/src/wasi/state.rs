//! What the WASI functions keep between calls, all of it on the heap: like a process, it starts
//! anew after an upgrade.

use super::args_env::Environment;
use super::clock::Clock;
use super::fdtable::FdTable;
use super::mounts::Tmp;
use super::random::Random;
use super::run::Run;
use super::stable::GuestStable;
use super::stdio::Stdio;

/// The state of the program's process.
pub struct State {
    /// Open descriptors.
    pub fds: FdTable,
    /// Standard streams.
    pub stdio: Stdio,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) environment: Environment,
    pub(crate) guest_stable: GuestStable,
    /// The file system on the heap.
    pub(crate) tmp: Option<Tmp>,
    /// The run of a command that is under way.
    pub(crate) run: Option<Run>,
}

impl State {
    pub(crate) const fn new() -> Self {
        Self {
            fds: FdTable::new(),
            stdio: Stdio::new(),
            clock: Clock::new(),
            random: Random::new(),
            environment: Environment::new(),
            guest_stable: GuestStable::new(),
            tmp: None,
            run: None,
        }
    }

    /// A message begins.
    #[inline]
    pub(crate) fn new_message(&mut self) {
        self.clock.new_message();
        self.random.new_message();
        if let Some(tmp) = &mut self.tmp {
            tmp.new_message();
        }
    }
}
