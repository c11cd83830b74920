//! `cargo xtask bench fs`: what files cost in a canister, in instructions of the Internet
//! Computer, beside the least that stable memory itself would cost.

use anyhow::{Context, Result};
use candid::{CandidType, Principal};
use e2e::canisters::{Mode, bench, linked};
use e2e::network::Network;
use e2e::sqlite_app::update;

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
    25 * total.div_ceil(call) + total + 1_000 * total.div_ceil(4_096)
}

/// What `stable64_read` costs: the same without pages.
fn read_floor(total: u64, call: u64) -> u64 {
    25 * total.div_ceil(call) + total
}

struct Bench<'a> {
    network: &'a Network,
    id: Principal,
}

impl Bench<'_> {
    async fn measure(
        &self,
        title: &str,
        method: &str,
        args: impl candid::utils::ArgumentEncoder,
        floor: Option<u64>,
    ) -> Result<()> {
        let (work,): (u64,) = update(&self.network.owner.agent, self.id, method, args)
            .await
            .with_context(|| title.to_owned())?;
        let (_, stats) = self
            .network
            .replica
            .last_stats(self.id)
            .context("the replica measured nothing")?;
        let floor = match floor {
            Some(floor) => format!("{:>15} {:>6.2}", digits(floor), work as f64 / floor as f64),
            None => format!("{:>15} {:>6}", "-", "-"),
        };
        println!(
            "{title:<54} {:>15} {:>15} {floor}",
            digits(work),
            digits(stats.instructions)
        );
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

#[tokio::main]
async fn main() -> Result<()> {
    for mode in Mode::ALL {
        let network = Network::start().await?;
        let id = network.deploy(&linked(bench(mode), &["--admin"])?).await?;
        println!("\nmode: {}", mode.name());
        println!(
            "{:<54} {:>15} {:>15} {:>15} {:>6}",
            "", "the work", "whole message", "raw stable64", "ratio"
        );
        run(&Bench {
            network: &network,
            id,
        })
        .await?;
        network.stop().await?;
    }
    Ok(())
}

async fn run(bench: &Bench<'_>) -> Result<()> {
    for (call, name) in [(65_536u32, "64 KiB calls"), (1_000, "1,000-byte calls")] {
        let path = format!("/file-{call}");
        let path = path.as_str();
        let write = Some(write_floor(TOTAL, call.into()));
        let read = Some(read_floor(TOTAL, call.into()));
        for (title, access) in [("write", Access::Create), ("overwrite", Access::Overwrite)] {
            let title = format!("{title} 100 MB in {name}");
            bench
                .measure(&title, "write", (path, TOTAL, call, access), write)
                .await?;
        }
        bench
            .measure(
                &format!("read 100 MB in {name}"),
                "read",
                (path, TOTAL, call),
                read,
            )
            .await?;
        let args = (path, TOTAL, call, Access::Append);
        bench
            .measure(&format!("append 100 MB in {name}"), "write", args, write)
            .await?;
        let (): () = update(&bench.network.owner.agent, bench.id, "remove", (path,)).await?;
    }
    let args = ("/pages", TOTAL, 65_536u32, Access::Create);
    bench
        .measure("write 100 MB for the next line", "write", args, None)
        .await?;
    let args = ("/pages", TOTAL, 10_000u32, 4_096u32);
    let floor = Some(read_floor(10_000 * 4_096, 4_096));
    bench
        .measure(
            "seek and read 10,000 scattered pages",
            "read_scattered",
            args,
            floor,
        )
        .await?;
    bench
        .measure(
            "create 1,000 files in one directory",
            "create_files",
            ("/d", 1_000u32),
            None,
        )
        .await?;
    bench
        .measure("create 1,000 more", "create_files", ("/d2", 1_000u32), None)
        .await?;
    for (journal, name) in [("", "default journal"), ("memory", "journal in memory")] {
        let path = format!("/bench-{journal}.db");
        let args = (path.as_str(), 10_000u32, journal);
        let title = format!("SQLite: insert 10,000 rows, {name}");
        bench.measure(&title, "sqlite_insert", args, None).await?;
    }
    Ok(())
}
