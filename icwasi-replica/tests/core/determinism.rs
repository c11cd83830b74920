//! The same messages give the same counts, replies and memories.

use crate::common::*;
use crate::generate::program;
use icwasi_replica::core::Core;
use sha2::{Digest, Sha256};

fn heap_hash(core: &Core, id: &candid::Principal) -> [u8; 32] {
    let canister = core.canister(id).expect("exists");
    let mut bytes = vec![0; canister.heap_bytes() as usize];
    assert!(canister.heap_read(0, &mut bytes));
    let mut stable = vec![0; canister.stable_bytes() as usize];
    assert!(canister.stable_read(0, &mut stable));
    bytes.extend(stable);
    Sha256::digest(&bytes).into()
}

#[test]
fn two_cores_agree() {
    let run = |seed| {
        let text = program(seed).replace("canister_query m", "canister_update m");
        let (mut core, id) = with(&text);
        (0..3)
            .map(|_| {
                let result = update(&mut core, &id, "m");
                let reply = match &result {
                    Ok(outcome) => outcome.reply.clone(),
                    Err(e) => e.to_string().into_bytes(),
                };
                (instructions(result), reply, heap_hash(&core, &id))
            })
            .collect::<Vec<_>>()
    };
    for seed in 1000..1012 {
        assert_eq!(run(seed), run(seed), "{seed}");
    }
}

/// Operators that may give a NaN give the canonical one, whatever NaNs went in; those that move
/// bits keep them.
#[test]
fn nans_are_canonical() {
    let odd32 = "(f32.reinterpret_i32 (i32.const 0xffa12345))";
    let odd64 = "(f64.reinterpret_i64 (i64.const 0xfff4567812345678))";
    let mut code = String::new();
    let mut at = 0;
    let mut expected = Vec::new();
    let mut case = |store: &str, value: String, bits: Vec<u8>| {
        code += &format!("({store} (i32.const {at}) {value})\n");
        at += bits.len();
        expected.extend(bits);
    };
    let canonical32 = 0x7fc0_0000u32.to_le_bytes().to_vec();
    let canonical64 = 0x7ff8_0000_0000_0000u64.to_le_bytes().to_vec();
    for op in ["add", "sub", "mul", "div", "min", "max"] {
        case(
            "f32.store",
            format!("(f32.{op} {odd32} (f32.const 1))"),
            canonical32.clone(),
        );
        case(
            "f64.store",
            format!("(f64.{op} (f64.const 1) {odd64})"),
            canonical64.clone(),
        );
        let v = |shape: &str, odd: &str, lane: &str| {
            format!("({shape}.{op} ({shape}.splat {odd}) ({shape}.splat ({lane}.const 1)))")
        };
        case(
            "v128.store",
            v("f32x4", odd32, "f32"),
            canonical32.repeat(4),
        );
        case(
            "v128.store",
            v("f64x2", odd64, "f64"),
            canonical64.repeat(2),
        );
    }
    for op in ["sqrt", "ceil", "floor", "trunc", "nearest"] {
        case(
            "f32.store",
            format!("(f32.{op} {odd32})"),
            canonical32.clone(),
        );
        case(
            "f64.store",
            format!("(f64.{op} {odd64})"),
            canonical64.clone(),
        );
        let v = format!("(f32x4.{op} (f32x4.splat {odd32}))");
        case("v128.store", v, canonical32.repeat(4));
        let v = format!("(f64x2.{op} (f64x2.splat {odd64}))");
        case("v128.store", v, canonical64.repeat(2));
    }
    case(
        "f64.store",
        "(f64.sqrt (f64.const -1))".into(),
        canonical64.clone(),
    );
    case(
        "f32.store",
        "(f32.div (f32.const 0) (f32.const 0))".into(),
        canonical32.clone(),
    );
    case(
        "f64.store",
        format!("(f64.promote_f32 {odd32})"),
        canonical64.clone(),
    );
    case(
        "f32.store",
        format!("(f32.demote_f64 {odd64})"),
        canonical32.clone(),
    );
    // Only bits are moved.
    case(
        "f32.store",
        odd32.into(),
        0xffa1_2345u32.to_le_bytes().to_vec(),
    );
    case(
        "f32.store",
        format!("(f32.neg {odd32})"),
        0x7fa1_2345u32.to_le_bytes().to_vec(),
    );
    case(
        "f64.store",
        format!("(f64.abs {odd64})"),
        0x7ff4_5678_1234_5678u64.to_le_bytes().to_vec(),
    );
    let (mut core, id) = with(&format!(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_query q") {code}
                (call $append (i32.const 0) (i32.const {at})) (call $reply)))"#
    ));
    let reply = query(&mut core, &id, "q").expect("replied").reply;
    assert_eq!(hex::encode(reply), hex::encode(expected));
}
