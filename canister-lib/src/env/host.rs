//! A deterministic platform for native tests and tools.

use core::cell::{Cell, RefCell};

use super::Env;

/// Every value is set by the test; printed lines are kept.
#[derive(Debug)]
pub struct Host {
    /// Returned by [`Env::now`].
    pub now: Cell<u64>,
    /// How often the time was asked for.
    pub time_calls: Cell<u64>,
    /// Returned by [`Env::instructions`]; goes up by 1,000 with every call.
    pub instructions: Cell<u64>,
    /// What was printed.
    pub printed: RefCell<Vec<Vec<u8>>>,
    /// Returned by [`Env::caller`].
    pub caller: RefCell<Vec<u8>>,
    /// Returned by [`Env::is_replicated`].
    pub replicated: Cell<bool>,
    /// Returned by [`Env::environment`].
    pub environment: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    /// How often [`Env::request_random`] was called.
    pub random_requests: Cell<u64>,
    /// Returned by [`Env::random_reply`].
    pub random_reply: RefCell<Option<Vec<u8>>>,
    /// Returned by [`Env::link_config`].
    pub link_config: RefCell<Vec<u8>>,
}

impl Host {
    /// Time is 2026-01-01, nothing else is set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            now: Cell::new(1_767_225_600_000_000_000),
            time_calls: Cell::new(0),
            instructions: Cell::new(0),
            printed: RefCell::new(Vec::new()),
            caller: RefCell::new(Vec::new()),
            replicated: Cell::new(true),
            environment: RefCell::new(Vec::new()),
            random_requests: Cell::new(0),
            random_reply: RefCell::new(None),
            link_config: RefCell::new(Vec::new()),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Env for Host {
    fn now(&self) -> u64 {
        self.time_calls.set(self.time_calls.get() + 1);
        self.now.get()
    }

    fn instructions(&self) -> u64 {
        let next = self.instructions.get() + 1_000;
        self.instructions.set(next);
        next
    }

    fn print(&self, line: &[u8]) {
        self.printed.borrow_mut().push(line.to_vec());
    }

    /// Panics with the message, as a trap would unwind a message.
    fn trap(&self, message: &[u8]) -> ! {
        panic!("trap: {}", String::from_utf8_lossy(message))
    }

    fn caller(&self) -> Vec<u8> {
        self.caller.borrow().clone()
    }

    fn canister_id(&self) -> Vec<u8> {
        vec![0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    }

    fn canister_version(&self) -> u64 {
        1
    }

    fn is_replicated(&self) -> bool {
        self.replicated.get()
    }

    fn is_controller(&self, principal: &[u8]) -> bool {
        principal == [1]
    }

    fn environment(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.environment.borrow().clone()
    }

    fn request_random(&self) {
        self.random_requests.set(self.random_requests.get() + 1);
    }

    fn random_reply(&self) -> Option<Vec<u8>> {
        self.random_reply.borrow().clone()
    }

    fn link_config(&self) -> Vec<u8> {
        self.link_config.borrow().clone()
    }
}
