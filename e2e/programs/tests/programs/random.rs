//! Random numbers of canisters: where the secret comes from, and that nothing repeats.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use candid::Principal;
use e2e_programs::canister::{cache, install, operator, with_stack};
use icwasi_cli::link::{LinkOptions, link};
use icwasi_replica::core::{
    Core, CoreConfig, ErrorCode, InstallMode, ManagementHandler, ManagementReply, Settings,
    UserError,
};

const MINUTE: u64 = 60_000_000_000;

/// What the management canister does when it is asked for random bytes.
#[derive(Default)]
struct Script {
    /// Answers; an empty one is a refusal. When there are no more, each call is refused.
    answers: Vec<Vec<u8>>,
    /// A module to which the canister is upgraded before it gets the answer.
    upgrade: Option<Vec<u8>>,
    calls: usize,
}

struct Handler(Arc<Mutex<Script>>);

impl ManagementHandler for Handler {
    fn call(
        &mut self,
        core: &mut Core,
        sender: Principal,
        method: &str,
        _: &[u8],
        cycles: u128,
    ) -> ManagementReply {
        let mut script = self.0.lock().expect("no test panics in here");
        assert_eq!((method, cycles), ("raw_rand", 0));
        script.calls += 1;
        if let Some(module) = script.upgrade.take() {
            let mode = InstallMode::Upgrade(Default::default());
            install(core, &sender, mode, &module).expect("upgrades");
        }
        let result = match script.answers.pop() {
            Some(bytes) if !bytes.is_empty() => {
                Ok(candid::encode_one(serde_bytes::ByteBuf::from(bytes)).expect("encodes"))
            }
            _ => Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                "not now",
            )),
        };
        ManagementReply { result, refund: 0 }
    }
}

struct Canister {
    core: Core,
    id: Principal,
    script: Arc<Mutex<Script>>,
}

fn module(name: &str, reseed: bool) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("reactors")
        .join(name);
    let module = wat::parse_file(path).expect("parses");
    if name == "plain.wat" {
        return module;
    }
    let options = LinkOptions {
        reseed,
        ..LinkOptions::default()
    };
    link(&module, &options).expect("links").module
}

impl Canister {
    /// All canisters that this makes are twins: same time, id and module.
    fn new(module: &[u8], answers: &[&[u8]]) -> Self {
        let mut core = Core::new(CoreConfig {
            compile_cache: Some(cache().expect("a directory")),
            ..CoreConfig::default()
        })
        .expect("a core");
        core.set_time(1_700_000_000_000_000_000);
        let script = Arc::new(Mutex::new(Script {
            answers: answers.iter().rev().map(|a| a.to_vec()).collect(),
            ..Script::default()
        }));
        core.set_management(Box::new(Handler(Arc::clone(&script))));
        let settings = Settings::new(vec![operator()], core.limits());
        let id = core
            .create_canister(operator(), None, settings, 1 << 60)
            .expect("created");
        install(&mut core, &id, InstallMode::Install, module).expect("installed");
        Canister { core, id, script }
    }

    fn update(&mut self) -> Vec<u8> {
        let outcome = self.core.update(&self.id, operator(), "random", vec![]);
        outcome.expect("replies").reply
    }

    fn peek(&mut self) -> Vec<u8> {
        let outcome = self.core.query(&self.id, operator(), "peek", vec![]);
        outcome.expect("replies").reply
    }

    fn upgrade(&mut self, module: &[u8]) {
        let mode = InstallMode::Upgrade(Default::default());
        install(&mut self.core, &self.id, mode, module).expect("upgrades");
    }

    fn wait(&mut self, nanos: u64) {
        let now = self.core.time();
        self.core.set_time(now + nanos);
    }

    fn calls(&self) -> usize {
        self.script.lock().expect("no test panics in there").calls
    }
}

fn in_thread(test: impl FnOnce() + Send + 'static) {
    with_stack(move || {
        test();
        Ok(())
    })
    .expect("runs");
}

#[test]
fn the_secret_arrives_with_the_first_update() {
    in_thread(|| {
        let module = module("random.wat", true);
        let mut one = Canister::new(&module, &[b"the secret of the one, 32 bytes."]);
        let mut other = Canister::new(&module, &[b"another secret, also of 32 bytes"]);
        // Before: twins that can be guessed.
        assert_eq!(one.peek(), other.peek());
        assert_eq!(one.calls(), 0, "queries do not ask");
        assert_eq!(one.update(), other.update());
        assert_eq!(one.calls(), 1);
        // After it.
        assert_ne!(one.update(), other.update());
        assert_ne!(one.peek(), other.peek());
        for _ in 0..5 {
            one.wait(100 * MINUTE);
            one.update();
        }
        assert_eq!(one.calls(), 1, "one answer is enough");
        // The secret outlives the code, and a new one is asked for.
        one.upgrade(&module);
        other.upgrade(&module);
        assert_ne!(one.peek(), other.peek());
        one.update();
        assert_eq!(one.calls(), 2);
    });
}

#[test]
fn without_reseeding_nobody_is_asked() {
    in_thread(|| {
        let module = module("random.wat", false);
        let mut one = Canister::new(&module, &[b"one"]);
        let mut other = Canister::new(&module, &[b"other"]);
        for _ in 0..3 {
            assert_eq!(one.update(), other.update());
        }
        assert_eq!(one.calls(), 0);
    });
}

#[test]
fn nothing_repeats() {
    in_thread(|| {
        let module = module("random.wat", true);
        let mut canister = Canister::new(&module, &[b"secret"]);
        let mut seen = HashSet::new();
        for round in 0..4 {
            for step in 0..5 {
                assert!(
                    seen.insert(canister.update()),
                    "update {step} of round {round}"
                );
            }
            // Each in another block: in one block, a query sees what the query before it saw.
            canister.wait(1);
            assert!(seen.insert(canister.peek()), "query of round {round}");
            canister.upgrade(&module);
        }
    });
}

#[test]
fn canisters_installed_at_the_same_time_differ() {
    in_thread(|| {
        let module = module("random.wat", false);
        let mut canister = Canister::new(&module, &[]);
        let first = canister.update();
        let settings = Settings::new(vec![operator()], canister.core.limits());
        canister.id = canister
            .core
            .create_canister(operator(), None, settings, 1 << 60)
            .expect("created");
        install(
            &mut canister.core,
            &canister.id,
            InstallMode::Install,
            &module,
        )
        .expect("installed");
        assert_ne!(canister.update(), first);
    });
}

#[test]
fn a_query_does_not_advance_what_updates_share() {
    in_thread(|| {
        let module = module("random.wat", false);
        let mut one = Canister::new(&module, &[]);
        let mut other = Canister::new(&module, &[]);
        let peeked = one.peek();
        assert_eq!(one.peek(), peeked, "documented: the same within a block");
        assert_ne!(peeked, one.update());
        other.update();
        assert_eq!(one.update(), other.update());
    });
}

#[test]
fn a_refusal_is_followed_by_another_request_later() {
    in_thread(|| {
        let module = module("random.wat", true);
        let mut canister = Canister::new(&module, &[b"", b"secret"]);
        canister.update();
        canister.wait(9 * MINUTE);
        canister.update();
        assert_eq!(canister.calls(), 1);
        canister.wait(MINUTE);
        canister.update();
        assert_eq!(canister.calls(), 2);
        canister.wait(100 * MINUTE);
        canister.update();
        assert_eq!(canister.calls(), 2);
    });
}

/// The answer comes to code that did not ask for it.
#[test]
fn an_upgrade_while_the_answer_is_under_way() {
    in_thread(|| {
        let small = module("random.wat", true);
        let large = module("random_large.wat", true);
        for (from, to) in [(&small, &large), (&large, &small), (&small, &small)] {
            let mut twins = [&b"one secret"[..], b"another"].map(|secret| {
                let mut canister = Canister::new(from, &[secret]);
                canister.script.lock().expect("unused").upgrade = Some(to.clone());
                canister.update();
                assert_eq!(canister.calls(), 1);
                canister
            });
            let [one, other] = &mut twins;
            assert_ne!(
                one.update(),
                other.update(),
                "the new code takes the answer"
            );
            assert_eq!(one.calls(), 1, "and does not ask again");
        }
        // To code that is not from here: nothing of it runs.
        let mut canister = Canister::new(&small, &[b"secret"]);
        canister.script.lock().expect("unused").upgrade = Some(module("plain.wat", true));
        canister.update();
        let outcome = canister
            .core
            .update(&canister.id, operator(), "spoilt", vec![]);
        assert_eq!(outcome.expect("replies").reply, [0; 4]);
    });
}

#[test]
fn a_program_that_has_the_slot_itself_is_not_reseeded() {
    in_thread(|| {
        let mut canister = Canister::new(&module("full_table.wat", true), &[b"secret"]);
        assert_ne!(canister.update(), canister.update());
        assert_eq!(canister.calls(), 0);
    });
}
