//! `cargo xtask bench fs`: what files cost in a canister, in instructions of the Internet
//! Computer, beside the least that stable memory itself would cost.
//!
//! Every figure is that of whole messages as the replica meters them, divided by the number of
//! operations: decoding the arguments and the program's own work are in it. The floor is the
//! price of the same bytes in the same calls of `stable64_read` and `stable64_write`, by the cost
//! table. Prints a table, writes it to `bench/RESULTS.md`, and with an argument writes JSON there.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use e2e::canisters::{Mode, bench, linked};
use e2e::host::Host;
use e2e::network::Network;
use serde::Serialize;

/// 100 MB.
const TOTAL: u64 = 100_000_000;

#[derive(CandidType, Clone, Copy)]
enum Access {
    Create,
    Overwrite,
    Append,
}

/// What `stable64_write` of `total` bytes costs in calls of `call` bytes by the cost table: 5 for
/// the call, 20 fixed, 1 per byte, 1,000 for every page of 4 KiB that is first written.
fn write_floor(total: u64, call: u64) -> u64 {
    read_floor(total, call) + 1_000 * total.div_ceil(4_096)
}

/// What `stable64_read` costs: the same without pages.
fn read_floor(total: u64, call: u64) -> u64 {
    25 * total.div_ceil(call) + total
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Goal {
    /// Times the floor, in hundredths.
    Ratio(u64),
    /// Instructions for each operation.
    Each(u64),
    None,
}

/// A line of the table.
#[derive(Serialize)]
struct Row {
    workload: String,
    /// Instructions for each operation.
    ours: u64,
    peers: serde_json::Map<String, serde_json::Value>,
    floor: Option<u64>,
    ratio_floor: Option<f64>,
    /// Instructions for each operation.
    goal: Option<u64>,
    met: Option<bool>,
}

struct Bench {
    network: Network,
    id: Principal,
    rows: Vec<Row>,
}

impl Bench {
    /// Calls `method`; the instructions of the message.
    async fn call(&self, method: &str, args: impl ArgumentEncoder) -> Result<u64> {
        let agent = &self.network.owner.agent;
        let bytes = candid::encode_args(args)?;
        agent
            .update(&self.id, method)
            .with_arg(bytes)
            .call_and_wait()
            .await
            .with_context(|| method.to_owned())?;
        let (_, stats) = self
            .network
            .replica
            .last_stats(self.id)
            .context("the replica measured nothing")?;
        Ok(stats.instructions)
    }

    /// Measures one message of `operations` operations.
    async fn measure(
        &mut self,
        workload: &str,
        (method, args): (&str, impl ArgumentEncoder),
        operations: u64,
        floor: Option<u64>,
        goal: Goal,
    ) -> Result<()> {
        let total = self.call(method, args).await?;
        self.record(workload, total, operations, floor, goal);
        Ok(())
    }

    fn record(
        &mut self,
        workload: &str,
        total: u64,
        operations: u64,
        floor: Option<u64>,
        goal: Goal,
    ) {
        let ours = total / operations;
        let floor = floor.map(|floor| floor / operations);
        let goal = match goal {
            Goal::Ratio(hundredths) => floor.map(|floor| floor * hundredths / 100),
            Goal::Each(instructions) => Some(instructions),
            Goal::None => None,
        };
        let row = Row {
            workload: workload.to_owned(),
            ours,
            peers: serde_json::Map::new(),
            floor,
            ratio_floor: floor.map(|floor| (ours * 1_000 / floor) as f64 / 1_000.0),
            goal,
            met: goal.map(|goal| ours <= goal),
        };
        println!("{}", line(&row));
        self.rows.push(row);
    }

    async fn contents(&mut self) -> Result<()> {
        use Goal::Ratio;
        for (call, name, goals) in [
            (65_536_u32, "64 KiB calls", [103, 103, 103]),
            (1_000, "1,000-byte calls", [135, 125, 125]),
        ] {
            let path = format!("/file-{call}");
            let path = path.as_str();
            let calls = TOTAL.div_ceil(call.into());
            let write = Some(write_floor(TOTAL, call.into()));
            let read = Some(read_floor(TOTAL, call.into()));
            let [new, over, reading] = goals.map(Ratio);
            let args = (path, TOTAL, call, Access::Create);
            let title = format!("write 100 MB to a new file, {name}");
            self.measure(&title, ("write", args), calls, write, new)
                .await?;
            let args = (path, TOTAL, call, Access::Overwrite);
            let title = format!("overwrite 100 MB, {name}");
            self.measure(&title, ("write", args), calls, write, over)
                .await?;
            let title = format!("read 100 MB, {name}");
            self.measure(&title, ("read", (path, TOTAL, call)), calls, read, reading)
                .await?;
        }
        let random = |overwrite| ("/file-65536", TOTAL, 10_000_u32, 4_096_u32, overwrite);
        let floor = Some(read_floor(10_000 * 4_096, 4_096));
        let title = "read 10,000 random 4 KiB of 100 MB";
        self.measure(
            title,
            ("scattered", random(false)),
            10_000,
            floor,
            Ratio(110),
        )
        .await?;
        // The step visits every slot at most once, so each write is to a page of its own.
        let floor = Some(write_floor(10_000 * 4_096, 4_096));
        let title = "overwrite 10,000 random 4 KiB of 100 MB";
        self.measure(
            title,
            ("scattered", random(true)),
            10_000,
            floor,
            Ratio(110),
        )
        .await?;
        let args = ("/interleaved", 10_u32, TOTAL / 10, 1_000_u32);
        let one = self
            .rows
            .iter()
            .find(|row| row.workload.contains("new file, 1,000-byte"))
            .map_or(0, |row| row.ours);
        let title = "10 files of 10 MB side by side, 1,000-byte calls";
        let floor = Some(write_floor(TOTAL, 1_000));
        let goal = Goal::Each(one * 110 / 100);
        self.measure(
            title,
            ("write_interleaved", args),
            TOTAL / 1_000,
            floor,
            goal,
        )
        .await?;
        self.call("write", ("/log", 0_u64, 100_u32, Access::Create))
            .await?;
        let args = ("/log", 1_000_000_u64, 100_u32, Access::Append);
        let title = "append 10,000 lines of 100 bytes";
        let floor = Some(write_floor(1_000_000, 100));
        self.measure(title, ("write", args), 10_000, floor, Goal::Each(600))
            .await
    }

    async fn names(&mut self) -> Result<()> {
        use Goal::Each;
        for directory in ["/flat", "/nested", "/few", "/many", "/big"] {
            self.call("make_directory", (directory,)).await?;
        }
        let title = "create 1,000 directories in one";
        let args = ("/flat", 1_000_u32, false);
        self.measure(
            title,
            ("create_directories", args),
            1_000,
            None,
            Each(5_000),
        )
        .await?;
        let title = "create 1,000 directories, each in the one before";
        let args = ("/nested", 1_000_u32, true);
        self.measure(
            title,
            ("create_directories", args),
            1_000,
            None,
            Each(5_000),
        )
        .await?;
        let title = "create 1,000 files in one directory, one message";
        let args = ("/few", 0_u32, 1_000_u32);
        self.measure(title, ("create_files", args), 1_000, None, Each(5_000))
            .await?;
        let title = "create 10,000 files in one directory, one message";
        let args = ("/many", 0_u32, 10_000_u32);
        self.measure(title, ("create_files", args), 10_000, None, Each(5_000))
            .await?;
        let mut total = 0;
        for i in 0..50_u32 {
            total += self
                .call("create_files", ("/many", 10_000 + i, 1_u32))
                .await?;
        }
        let title = "create a file among 10,000, a message each";
        self.record(title, total, 50, None, Each(10_000));
        let title = "list 10,050 entries";
        self.measure(
            title,
            ("list", ("/many", 10_050_u32)),
            10_050,
            None,
            Each(800),
        )
        .await?;
        for first in (0..100_000_u32).step_by(20_000) {
            self.call("create_files", ("/big", first, 20_000_u32))
                .await?;
        }
        let title = "stat 1,000 missing names among 100,000";
        self.measure(
            title,
            ("stat_missing", ("/big", 1_000_u32)),
            1_000,
            None,
            Each(2_000),
        )
        .await
    }

    async fn removal(&mut self) -> Result<()> {
        use Goal::Each;
        for path in ["/old", "/new"] {
            let args = (path, 10_000_000_u64, 65_536_u32, Access::Create);
            self.call("write", args).await?;
        }
        let title = "rename over a file of 10 MB";
        self.measure(title, ("rename", ("/new", "/old")), 1, None, Each(100_000))
            .await?;
        let title = "truncate a file of 10 MB";
        self.measure(title, ("truncate", ("/old", 0_u64)), 1, None, Each(100_000))
            .await?;
        for (path, title) in [
            ("/file-65536", "remove a file of 100 MB"),
            ("/file-1000", "remove another, written in 1,000-byte calls"),
        ] {
            self.measure(title, ("remove", (path,)), 1, None, Each(100_000))
                .await?;
        }
        Ok(())
    }

    async fn sqlite(&mut self) -> Result<()> {
        for (journal, name) in [("", "default journal"), ("memory", "journal in memory")] {
            let path = format!("/bench-{journal}.db");
            let args = (path.as_str(), 10_000_u32, journal);
            let title = format!("SQLite: insert 10,000 rows, {name}");
            self.measure(&title, ("sqlite_insert", args), 10_000, None, Goal::None)
                .await?;
        }
        Ok(())
    }
}

fn digits(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A line of the table, which is Markdown too.
fn line(row: &Row) -> String {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), digits);
    let ratio = row
        .ratio_floor
        .map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
    let met = match row.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    };
    format!(
        "| {:<52} | {:>9} | {:>9} | {:>6} | {:>9} | {:>3} |",
        row.workload,
        digits(row.ours),
        number(row.floor),
        ratio,
        number(row.goal),
        met
    )
}

fn header() -> String {
    let titles = format!(
        "| {:<52} | {:>9} | {:>9} | {:>6} | {:>9} | {:>3} |",
        "workload", "ours", "floor", "ratio", "goal", "met"
    );
    let rule: String = titles
        .chars()
        .map(|c| if c == '|' { '|' } else { '-' })
        .collect();
    format!("{titles}\n{rule}")
}

fn report(rows: &[Row]) -> Result<String> {
    let mut text = String::from(
        "# What files cost\n\n\
         Written by `cargo xtask bench fs`. Instructions of the Internet Computer for each \
         operation, as the replica meters whole messages: decoding the arguments and the program's \
         own work are in them. The module is compiled for `wasm32-wasip1` and linked with the \
         polyfill injected. The floor is the price of the same bytes in the same calls of \
         `stable64_read` and `stable64_write` by the cost table, with 1,000 for every page of \
         4 KiB that a message writes first.\n\n",
    );
    writeln!(text, "{}", header())?;
    for row in rows {
        writeln!(text, "{}", line(row))?;
    }
    Ok(text)
}

#[tokio::main]
async fn main() -> Result<()> {
    let json = std::env::args_os().nth(1).map(PathBuf::from);
    // Only the replica in this process tells what a message took.
    let network = Network::on(Host::embedded().await?).await?;
    let module = linked(bench(Mode::Inject), &["--admin"])?;
    let id = network.deploy(&module).await?;
    let mut bench = Bench {
        network,
        id,
        rows: Vec::new(),
    };
    println!("{}", header());
    bench.contents().await?;
    bench.names().await?;
    bench.removal().await?;
    bench.sqlite().await?;
    bench.network.stop().await?;

    let directory = xtask::process::root().join("bench");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("RESULTS.md"), report(&bench.rows)?)?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&bench.rows)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
