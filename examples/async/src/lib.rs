//! A canister whose methods wait for other canisters, draw random numbers and exit.
//!
//! Each piece of a method between two calls is a message of its own: what it has written to files
//! is kept when the next one traps. Here the canister waits for itself.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use ic_cdk::call::Call;

/// What the methods write to.
const FILE: &str = "/data/async.txt";

#[ic_cdk::init]
fn init() {
    #[cfg(feature = "rewire")]
    icwasi::init();
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    init();
}

fn open() -> File {
    fs::create_dir_all("/data").expect("the directory");
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(FILE);
    file.expect("the file")
}

/// Writes `<text`, waits for the answer to `text`, and writes it and `>`, through a file that is
/// open all the while. The content of the file.
#[ic_cdk::update]
async fn relay(text: String) -> Result<String, String> {
    let mut file = open();
    let fail = |error: std::io::Error| error.to_string();
    write!(file, "<{text}").map_err(fail)?;
    let answer = Call::unbounded_wait(ic_cdk::api::canister_self(), "echo")
        .with_arg(&text)
        .await
        .map_err(|error| error.to_string())?;
    let answer: String = answer.candid().map_err(|error| error.to_string())?;
    write!(file, "{answer}>").map_err(fail)?;
    fs::read_to_string(FILE).map_err(fail)
}

/// The text in capital letters.
#[ic_cdk::update]
fn echo(text: String) -> String {
    if text == "trap" {
        ic_cdk::api::trap("on purpose");
    }
    text.to_uppercase()
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    getrandom::fill(&mut bytes).expect("WASI has random numbers");
    bytes
}

/// 16 random bytes.
#[ic_cdk::update]
fn draw() -> Vec<u8> {
    random()
}

/// 16 random bytes, of a query.
#[ic_cdk::query]
fn peek() -> Vec<u8> {
    random()
}

/// Writes `!`, and exits.
#[ic_cdk::update]
fn quit(code: i32) {
    open().write_all(b"!").expect("space");
    std::process::exit(code)
}

/// Writes `?`, waits, writes `!`, and exits in the callback.
#[ic_cdk::update]
async fn quit_later(code: i32) {
    open().write_all(b"?").expect("space");
    let call = Call::unbounded_wait(ic_cdk::api::canister_self(), "echo");
    call.with_arg("x").await.expect("an answer");
    quit(code);
}

/// What the file holds.
#[ic_cdk::query]
fn read() -> String {
    fs::read_to_string(FILE).unwrap_or_default()
}
