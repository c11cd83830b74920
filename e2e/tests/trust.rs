//! What people trust their data with: upgrades under load, other data in the same stable memory,
//! directories that a program gets.

use anyhow::{Context, Result, ensure};
use e2e::canisters::{Mode, asynchronous, linked, shared, sqlite};
use e2e::sqlite_app::{Rows, Value};
use e2e::stage::{Stage, with_stack};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use ic_stable_structures::{Memory, StableBTreeMap, VectorMemory};
use icwasi::fs::{Fs, Ino};

const MIB: u64 = 1 << 20;

/// The file system is sound.
fn fsck<M: Memory>(memory: M) -> Result<Fs<M>> {
    let mut fs = Fs::mount(memory)?;
    let findings = fs.check();
    ensure!(findings.is_empty(), "{findings:?}");
    Ok(fs)
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "no text",
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// SQL that changes something, whatever is there.
fn statement(dice: &mut Dice) -> String {
    let (key, length) = (dice.roll(5_000), dice.roll(3_000));
    match dice.roll(10) {
        0..5 => format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})
             INSERT OR REPLACE INTO notes SELECT {key} + 7 * i, hex(zeroblob({length} / 2)) || i FROM n",
            dice.roll(40)
        ),
        5..7 => format!(
            "UPDATE notes SET body = body || '{key}' WHERE id % 13 = {}",
            dice.roll(13)
        ),
        7..9 => format!("DELETE FROM notes WHERE id BETWEEN {key} AND {key} + 300"),
        _ => "DROP INDEX IF EXISTS sizes; CREATE INDEX sizes ON notes (length(body), id)".to_owned(),
    }
}

/// 200 upgrades, from the one mode to the other and back, with SQL between: the database is what
/// SQLite on this computer makes of the same statements, sound, and so is the file system.
#[test]
fn two_hundred_upgrades_under_load() -> Result<()> {
    const SUMS: &str = "SELECT count(*), coalesce(sum(id), 0), coalesce(sum(length(body)), 0), \
                        coalesce(max(body), '') FROM notes";
    with_stack(|| {
        let modules = [
            std::fs::read(linked(sqlite(Mode::Rewire), &["--admin"])?)?,
            std::fs::read(linked(sqlite(Mode::Inject), &["--admin"])?)?,
        ];
        let mut stage = Stage::new()?;
        stage.install(&modules[1], &candid::encode_args(())?)?;
        let here = rusqlite::Connection::open_in_memory()?;
        let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)";
        here.execute_batch(table)?;
        let run = |stage: &mut Stage, sql: &str| -> Result<()> {
            let (done,): (Result<u64, String>,) = stage.update("execute", (sql,))?;
            done.map(drop).map_err(anyhow::Error::msg)
        };
        run(&mut stage, table)?;
        let mut dice = Dice(0x1CA5_1CA5);
        let mut largest = 0;
        for round in 0..200 {
            for _ in 0..1 + dice.roll(4) {
                let sql = statement(&mut dice);
                run(&mut stage, &sql).with_context(|| sql.clone())?;
                here.execute_batch(&sql)?;
            }
            stage.upgrade(&modules[round % 2])?;
            let (rows,): (Result<Rows, String>,) =
                stage.query("query_sql", ("PRAGMA integrity_check",))?;
            let rows = rows.map_err(anyhow::Error::msg)?.rows;
            ensure!(
                rows == [[Value::Text("ok".into())]],
                "round {round}: {rows:?}"
            );
            let (rows,): (Result<Rows, String>,) = stage.query("query_sql", (SUMS,))?;
            let sums = rows.map_err(anyhow::Error::msg)?.rows.remove(0);
            let wanted = here.query_row(SUMS, [], |row| {
                Ok([0, 1, 2]
                    .map(|at| Value::Integer(row.get_unwrap(at)))
                    .into_iter()
                    .chain([Value::Text(row.get_unwrap(3))])
                    .collect::<Vec<_>>())
            })?;
            ensure!(sums == wanted, "round {round}: {}", text(&sums[3]).len());
            let mut fs = fsck(stage.stable()?).with_context(|| format!("round {round}"))?;
            let root = fs.root();
            let found = fs.resolve(root, root, b"data/cities.db", false)?;
            let size = fs.stat(found.target.context("the database")?)?.size;
            largest = largest.max(size);
        }
        ensure!(largest > MIB, "the load is no load: {largest} bytes");
        Ok(())
    })
}

/// A canister without files: keeps its argument in stable memory, and shows the start of it.
const OLD: &str = r#"(module
    (import "ic0" "msg_arg_data_size" (func $size (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_reply" (func $reply))
    (memory 64)
    (func (export "canister_init")
        (call $arg (i32.const 0) (i32.const 0) (call $size))
        (drop (call $grow (i64.extend_i32_u
            (i32.shr_u (i32.add (call $size) (i32.const 65535)) (i32.const 16)))))
        (call $write (i64.const 0) (i64.const 0) (i64.extend_i32_u (call $size))))
    (func (export "canister_query start")
        (call $read (i64.const 0) (i64.const 0) (i64.const 64))
        (call $append (i32.const 0) (i32.const 64))
        (call $reply)))"#;

/// An existing canister with data at offset 0 is not upgraded to one whose file system would lie
/// there: it goes on as it was, to the byte. Also where its memory is all zero.
#[test]
fn data_of_another_program_is_never_overwritten() -> Result<()> {
    with_stack(|| {
        let old = wat::parse_str(OLD)?;
        for data in [b"somebody's own data. ".repeat(5_000), vec![0; 70_000]] {
            for mode in Mode::ALL {
                let mut stage = Stage::new()?;
                stage.install(&old, &data)?;
                let module = std::fs::read(linked(sqlite(mode), &["--admin"])?)?;
                let error = match stage.upgrade(&module) {
                    Ok(_) => anyhow::bail!("{mode:?}: upgraded over foreign data"),
                    Err(error) => error.to_string(),
                };
                ensure!(error.contains("not an icwasi file system"), "{error}");
                ensure!(stage.stable()?.borrow()[..data.len()] == data[..]);
                ensure!(stage.query_raw("start", Vec::new())? == data[..64]);
            }
        }
        Ok(())
    })
}

/// Memory of a canister that used a memory manager before it had files.
fn managed() -> (VectorMemory, Vec<u8>) {
    let memory = VectorMemory::default();
    let manager = MemoryManager::init_with_bucket_size(memory.clone(), 4);
    let mut map = StableBTreeMap::init(manager.get(MemoryId::new(0)));
    for key in 0_u64..200 {
        map.insert(key, format!("value {key}"));
    }
    let raw = manager.get(MemoryId::new(1));
    raw.grow(1);
    let bytes: Vec<u8> = (0..65_536_u32).map(|i| (i % 251) as u8).collect();
    raw.write(0, &bytes);
    (memory, bytes)
}

/// Such a canister is upgraded to one with files beside its data; both stay what they are over
/// further upgrades, and the empty file system takes less than 1 MiB more.
#[test]
fn files_beside_stable_structures() -> Result<()> {
    with_stack(|| {
        let (memory, raw) = managed();
        let before = memory.borrow().len() as u64;
        let mut stage = Stage::new()?;
        let image = memory.borrow().clone();
        stage.install(&wat::parse_str(OLD)?, &image)?;
        let module = std::fs::read(linked(shared(), &[])?)?;
        stage.upgrade(&module)?;
        let grown = stage.stable()?.borrow().len() as u64 - before;
        ensure!(grown <= MIB, "an empty file system takes {grown} bytes");

        let get = |stage: &mut Stage, key: u64| -> Result<Option<String>> {
            let (value,) = stage.query("get", (key,))?;
            Ok(value)
        };
        let read = |stage: &mut Stage, path: &str| -> Result<Vec<u8>> {
            let (content,): (Result<Vec<u8>, String>,) = stage.query("read", (path,))?;
            content.map_err(anyhow::Error::msg)
        };
        let write = |stage: &mut Stage, path: &str, content: &[u8]| -> Result<()> {
            let (done,): (Result<(), String>,) = stage.update("write", (path, content))?;
            done.map_err(anyhow::Error::msg)
        };
        let set_len = |stage: &mut Stage, length: u64| -> Result<()> {
            let (done,): (Result<(), String>,) =
                stage.update("set_len", ("/data/raw.bin", length))?;
            done.map_err(anyhow::Error::msg)
        };
        let content: Vec<u8> = (0..300_000_u32).map(|i| (i * 7) as u8).collect();
        write(&mut stage, "/data/file", &content)?;
        ensure!(read(&mut stage, "/data/raw.bin")? == raw);
        write(&mut stage, "/data/raw.bin", b"changed by a file")?;
        for round in 0_u64..5 {
            let () = stage.update("put", (1_000 + round, "new"))?;
            stage.upgrade(&module)?;
            ensure!(get(&mut stage, round)? == Some(format!("value {round}")));
            ensure!(get(&mut stage, 1_000 + round)?.as_deref() == Some("new"));
            ensure!(read(&mut stage, "/data/file")? == content);
            let shown = read(&mut stage, "/data/raw.bin")?;
            ensure!(shown.starts_with(b"changed by a file"));
            ensure!(shown[17..] == raw[17..]);
        }
        // The size survives; what was cut off does not come back.
        set_len(&mut stage, 20)?;
        stage.upgrade(&module)?;
        let mut short = b"changed by a file".to_vec();
        short.extend_from_slice(&raw[17..20]);
        ensure!(read(&mut stage, "/data/raw.bin")? == short);
        set_len(&mut stage, 100)?;
        short.resize(100, 0);
        ensure!(read(&mut stage, "/data/raw.bin")? == short);

        // And on this side of the wall.
        let manager = MemoryManager::init(stage.stable()?);
        let map: StableBTreeMap<u64, String, _> =
            StableBTreeMap::init(manager.get(MemoryId::new(0)));
        ensure!(map.len() == 205 && map.get(&199).as_deref() == Some("value 199"));
        let mut start = [0; 20];
        manager.get(MemoryId::new(1)).read(0, &mut start);
        ensure!(start[..] == short[..20]);
        fsck(manager.get(MemoryId::new(8)))?;
        for id in 9..12 {
            ensure!(manager.get(MemoryId::new(id)).size() == 0);
        }
        Ok(())
    })
}

/// A canister that only exists costs less than 1 MiB of stable memory, in both modes.
#[test]
fn an_empty_file_system_is_small() -> Result<()> {
    with_stack(|| {
        for mode in Mode::ALL {
            let mut stage = Stage::new()?;
            let module = std::fs::read(linked(sqlite(mode), &["--admin"])?)?;
            stage.install(&module, &candid::encode_args(())?)?;
            // With the line that the example logs.
            let bytes = stage.stable()?.borrow().len() as u64;
            ensure!(bytes <= MIB, "{mode:?}: {bytes} bytes");
        }
        Ok(())
    })
}

/// `--dir` and `--tmp` reach the program: SQLite works in its directory, and not in one that it
/// may only read; what it has on the heap does not reach stable memory.
#[test]
fn a_program_gets_its_directories() -> Result<()> {
    with_stack(|| {
        for mode in Mode::ALL {
            let mut stage = Stage::new()?;
            let options = ["--dir", "/data", "--dir", "/etc/app::ro", "--tmp", "2M"];
            let module = std::fs::read(linked(sqlite(mode), &options)?)?;
            stage.install(&module, &candid::encode_args(())?)?;
            let run = |stage: &mut Stage, sql: &str| -> Result<u64> {
                let (done,): (Result<u64, String>,) = stage.update("execute", (sql,))?;
                done.map_err(anyhow::Error::msg)
            };
            run(
                &mut stage,
                "CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(100000))",
            )?;
            let mut fs = fsck(stage.stable()?)?;
            let root = fs.root();
            let mut ino_of = |path: &str| -> Result<Option<Ino>> {
                Ok(fs.resolve(root, root, path.as_bytes(), true)?.target)
            };
            ensure!(ino_of("data/cities.db")?.is_some());
            for made in ["etc/app", "tmp"] {
                ensure!(ino_of(made)?.is_some(), "{made} was not made");
            }
            // The same program over the same files, when it may only read.
            let options = ["--dir", "/data::ro"];
            stage
                .upgrade(&std::fs::read(linked(sqlite(mode), &options)?)?)
                .err()
                .context("it logs to /data in post_upgrade")?;
        }
        Ok(())
    })
}

/// Files go on being what they were while a method waits, through one open descriptor; what was
/// written before a call is kept when the answer is a rejection. Exits in methods of ic-cdk, whose
/// executor would never be free again, trap and are rolled back.
#[test]
fn methods_that_wait_and_exit() -> Result<()> {
    with_stack(|| {
        for mode in Mode::ALL {
            let mut stage = Stage::new()?;
            let module = std::fs::read(linked(asynchronous(mode), &[])?)?;
            stage.install(&module, &candid::encode_args(())?)?;
            let relay = |stage: &mut Stage, text: &str| -> Result<Result<String, String>> {
                let (told,) = stage.update("relay", (text,))?;
                Ok(told)
            };
            let read = |stage: &mut Stage| -> Result<String> {
                let (content,) = stage.query("read", ())?;
                Ok(content)
            };
            ensure!(relay(&mut stage, "a")? == Ok("<aA>".into()));
            let rejected = relay(&mut stage, "trap")?.err().context("it trapped")?;
            ensure!(rejected.contains("on purpose"), "{rejected}");
            ensure!(read(&mut stage)? == "<aA><trap");
            stage.upgrade(&module)?;
            ensure!(read(&mut stage)? == "<aA><trap");

            // The first update asks for random bytes, and while that call is open, its caller is not
            // told why a callback trapped.
            let _: (Vec<u8>,) = stage.update("draw", ())?;
            let mut content = "<aA><trap".to_owned();
            for code in [0, 3] {
                for (method, kept) in [("quit", ""), ("quit_later", "?")] {
                    let outcome: Result<()> = stage.update(method, (code,));
                    let error = outcome.err().context("an exit traps")?.to_string();
                    ensure!(
                        error.contains(&format!("exit code {code}")),
                        "{mode:?} {method}: {error}"
                    );
                    content += kept;
                    ensure!(read(&mut stage)? == content, "{method} {code}");
                }
                content += "<bB>";
                ensure!(relay(&mut stage, "b")? == Ok(content.clone()), "{mode:?}");
            }
        }
        Ok(())
    })
}

/// Twins, alike to the byte, get other random numbers once the management canister has answered
/// them, in both modes.
#[test]
fn random_numbers_come_from_the_platform() -> Result<()> {
    with_stack(|| {
        for mode in Mode::ALL {
            let module = std::fs::read(linked(asynchronous(mode), &[])?)?;
            let mut drawn = Vec::new();
            for secret in [b"a secret", b"another."] {
                let mut stage = Stage::new()?;
                stage.answer_raw_rand(secret);
                stage.install(&module, &candid::encode_args(())?)?;
                let mut twin: Vec<Vec<u8>> = Vec::new();
                for _ in 0..3 {
                    let (bytes,): (Vec<u8>,) = stage.update("draw", ())?;
                    twin.push(bytes);
                }
                let (bytes,): (Vec<u8>,) = stage.query("peek", ())?;
                twin.push(bytes);
                drawn.push(twin);
            }
            let same: Vec<bool> = (0..4).map(|at| drawn[0][at] == drawn[1][at]).collect();
            ensure!(same == [true, false, false, false], "{mode:?}: {same:?}");
        }
        Ok(())
    })
}
