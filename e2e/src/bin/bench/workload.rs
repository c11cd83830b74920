//! A workload: what it runs, on what, and what it is compared with.

use anyhow::{Context, Result};

use crate::canisters::Canisters;
use crate::machine::{Machine, Step};
use crate::report::Row;

/// What is to be reached.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Hundredths of the floor.
    Floor(u64),
    /// Hundredths of what an earlier workload took.
    Row(&'static str, u64),
    /// Instructions for each operation.
    Each(u64),
    None,
}

/// What is measured, and what comes before it.
#[derive(Clone)]
pub struct Plan {
    /// Not measured.
    pub setup: Vec<Step>,
    /// Measured together.
    pub messages: Vec<Step>,
    /// By which the sum is divided.
    pub operations: u64,
}

/// What is measured besides a plan's messages.
#[derive(Copy, Clone, PartialEq)]
pub enum Also {
    Nothing,
    /// An upgrade before them.
    Upgrade,
    /// A check of the file system after them, which must find nothing.
    Check,
}

/// See the module's documentation. Every plan runs in a canister of its own.
pub struct Workload {
    pub title: &'static str,
    pub plan: Plan,
    /// What else counts.
    pub also: Also,
    pub floor: Option<Plan>,
    /// With the chunked files of stable-fs.
    pub chunks: Option<Plan>,
    /// With its files on a memory of their own.
    pub mounted: Option<Plan>,
    pub goal: Goal,
}

/// All but SQLite.
pub fn all() -> Vec<Workload> {
    let mut all = crate::contents::all();
    all.extend(crate::names::all());
    all
}

impl Workload {
    /// One that no other library runs.
    pub fn new(title: &'static str, plan: Plan, goal: Goal) -> Self {
        Self {
            title,
            plan,
            also: Also::Nothing,
            floor: None,
            chunks: None,
            mounted: None,
            goal,
        }
    }

    /// Runs everything.
    pub fn measure(&self, canisters: &Canisters, before: &[Row]) -> Result<Row> {
        let ours = self.run(&canisters.ours, &self.plan, self.also)?;
        let run = |module: &Option<Vec<u8>>, plan: &Option<Plan>| match (module, plan) {
            (Some(module), Some(plan)) => self.run(module, plan, Also::Nothing).map(Some),
            _ => Ok(None),
        };
        let floor = run(&Some(canisters.floor.clone()), &self.floor)?;
        let mut row = Row::new(self.title, ours);
        row.floor = floor;
        for (name, module, plan) in [
            ("stable-fs", &canisters.chunks, &self.chunks),
            ("mounted memory", &canisters.mounted, &self.mounted),
        ] {
            // A library that fails at a workload has no figure; that is worth knowing.
            match run(module, plan) {
                Ok(Some(count)) => drop(row.peers.insert(name.to_owned(), count.into())),
                Ok(None) => {}
                Err(error) => eprintln!("{name} fails at \"{}\": {error:#}", self.title),
            }
        }
        row.set_goal(match self.goal {
            Goal::Floor(hundredths) => floor.map(|floor| floor * hundredths / 100),
            Goal::Row(title, hundredths) => before
                .iter()
                .find(|row| row.workload == title)
                .map(|row| row.ours * hundredths / 100),
            Goal::Each(instructions) => Some(instructions),
            Goal::None => None,
        });
        Ok(row)
    }

    fn run(&self, module: &[u8], plan: &Plan, also: Also) -> Result<u64> {
        let run = || -> Result<u64> {
            let mut machine = Machine::install(module)?;
            machine.run(&plan.setup)?;
            let mut sum = 0;
            if also == Also::Upgrade {
                sum += machine.upgrade(module)?;
            }
            sum += machine.run(&plan.messages)?;
            if also == Also::Check {
                sum += machine.check()?;
            }
            Ok(sum / plan.operations)
        };
        run().with_context(|| self.title.to_owned())
    }
}
