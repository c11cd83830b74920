//! The cost of every operator, from a table of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::*;

/// Operands and result (`a` address, `i` i32, `l` i64, `f` f32, `d` f64, `v` v128), cost with
/// 32-bit memory, mnemonics. With 64-bit memory everything with an address costs one more.
pub const TABLE: &[(&str, u64, &str)] = &[
    (
        "ii>i",
        1,
        "i32.add i32.sub i32.mul i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr",
    ),
    (
        "ii>i",
        1,
        "i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u",
    ),
    (
        "i>i",
        1,
        "i32.clz i32.ctz i32.popcnt i32.eqz i32.extend8_s i32.extend16_s",
    ),
    ("ii>i", 10, "i32.div_s i32.div_u i32.rem_s i32.rem_u"),
    (
        "ll>l",
        1,
        "i64.add i64.sub i64.mul i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr",
    ),
    (
        "ll>i",
        1,
        "i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u",
    ),
    (
        "l>l",
        1,
        "i64.clz i64.ctz i64.popcnt i64.extend8_s i64.extend16_s i64.extend32_s",
    ),
    ("l>i", 1, "i64.eqz i32.wrap_i64"),
    ("ll>l", 10, "i64.div_s i64.div_u i64.rem_s i64.rem_u"),
    ("i>l", 1, "i64.extend_i32_s i64.extend_i32_u"),
    ("f>f", 1, "f32.abs f32.neg"),
    ("f>f", 2, "f32.ceil f32.floor f32.trunc f32.nearest"),
    ("f>f", 5, "f32.sqrt"),
    ("ff>f", 2, "f32.add f32.sub f32.mul f32.copysign"),
    ("ff>f", 3, "f32.div"),
    ("ff>f", 18, "f32.min f32.max"),
    ("ff>i", 3, "f32.eq f32.ne f32.lt f32.gt f32.le f32.ge"),
    ("d>d", 1, "f64.abs f64.neg"),
    ("d>d", 2, "f64.ceil f64.floor f64.trunc f64.nearest"),
    ("d>d", 8, "f64.sqrt"),
    ("dd>d", 2, "f64.add f64.sub f64.mul"),
    ("dd>d", 3, "f64.copysign"),
    ("dd>d", 5, "f64.div"),
    ("dd>d", 18, "f64.min f64.max"),
    ("dd>i", 3, "f64.eq f64.ne f64.lt f64.gt f64.le f64.ge"),
    ("f>i", 1, "i32.reinterpret_f32"),
    ("i>f", 1, "f32.reinterpret_i32"),
    ("d>l", 1, "i64.reinterpret_f64"),
    ("l>d", 1, "f64.reinterpret_i64"),
    ("d>f", 1, "f32.demote_f64"),
    ("f>d", 1, "f64.promote_f32"),
    ("i>f", 3, "f32.convert_i32_s"),
    ("l>f", 3, "f32.convert_i64_s"),
    ("i>d", 3, "f64.convert_i32_s"),
    ("l>d", 3, "f64.convert_i64_s"),
    ("i>f", 16, "f32.convert_i32_u"),
    ("l>f", 16, "f32.convert_i64_u"),
    ("i>d", 16, "f64.convert_i32_u"),
    ("l>d", 16, "f64.convert_i64_u"),
    (
        "f>i",
        20,
        "i32.trunc_f32_s i32.trunc_f32_u i32.trunc_sat_f32_s i32.trunc_sat_f32_u",
    ),
    (
        "d>i",
        20,
        "i32.trunc_f64_s i32.trunc_f64_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u",
    ),
    (
        "f>l",
        20,
        "i64.trunc_f32_s i64.trunc_f32_u i64.trunc_sat_f32_s i64.trunc_sat_f32_u",
    ),
    (
        "d>l",
        20,
        "i64.trunc_f64_s i64.trunc_f64_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u",
    ),
    (
        "a>i",
        1,
        "i32.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u",
    ),
    (
        "a>l",
        1,
        "i64.load i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u",
    ),
    ("a>f", 1, "f32.load"),
    ("a>d", 1, "f64.load"),
    ("ai>", 1, "i32.store i32.store8 i32.store16"),
    ("al>", 1, "i64.store i64.store8 i64.store16 i64.store32"),
    ("af>", 1, "f32.store"),
    ("ad>", 1, "f64.store"),
    (
        "a>v",
        1,
        "v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u v128.load32x2_s v128.load32x2_u",
    ),
    (
        "a>v",
        1,
        "v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat v128.load32_zero v128.load64_zero",
    ),
    (
        "av>v",
        1,
        "v128.load8_lane:3 v128.load16_lane:3 v128.load32_lane:3 v128.load64_lane:1",
    ),
    (
        "av>",
        1,
        "v128.store v128.store8_lane:3 v128.store16_lane:3 v128.store32_lane:3 v128.store64_lane:1",
    ),
    ("v>v", 1, "v128.not"),
    ("vv>v", 1, "v128.and v128.andnot v128.or v128.xor"),
    ("vvv>v", 1, "v128.bitselect"),
    ("v>i", 1, "v128.any_true"),
    (
        "vv>v",
        3,
        "i8x16.shuffle:0:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15",
    ),
    (
        "vv>v",
        1,
        "i8x16.swizzle i8x16.eq i8x16.ne i8x16.lt_s i8x16.gt_s i8x16.le_s i8x16.le_u i8x16.ge_s i8x16.ge_u",
    ),
    ("vv>v", 2, "i8x16.lt_u i8x16.gt_u"),
    (
        "vv>v",
        1,
        "i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u",
    ),
    (
        "vv>v",
        1,
        "i8x16.min_s i8x16.min_u i8x16.max_s i8x16.max_u i8x16.avgr_u i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u",
    ),
    ("v>v", 1, "i8x16.abs i8x16.neg"),
    ("v>v", 3, "i8x16.popcnt"),
    (
        "v>i",
        1,
        "i8x16.all_true i8x16.bitmask i8x16.extract_lane_s:3 i8x16.extract_lane_u:3",
    ),
    ("vi>v", 3, "i8x16.shl i8x16.shr_s"),
    ("vi>v", 2, "i8x16.shr_u"),
    ("vi>v", 1, "i8x16.replace_lane:3"),
    ("i>v", 1, "i8x16.splat i16x8.splat i32x4.splat"),
    (
        "vv>v",
        1,
        "i16x8.eq i16x8.ne i16x8.lt_s i16x8.gt_s i16x8.le_s i16x8.le_u i16x8.ge_s i16x8.ge_u",
    ),
    ("vv>v", 2, "i16x8.lt_u i16x8.gt_u"),
    (
        "vv>v",
        1,
        "i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u i16x8.mul",
    ),
    (
        "vv>v",
        1,
        "i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u i16x8.avgr_u i16x8.q15mulr_sat_s",
    ),
    (
        "vv>v",
        1,
        "i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u i16x8.extmul_low_i8x16_s i16x8.extmul_low_i8x16_u",
    ),
    (
        "vv>v",
        2,
        "i16x8.extmul_high_i8x16_s i16x8.extmul_high_i8x16_u",
    ),
    (
        "v>v",
        1,
        "i16x8.abs i16x8.neg i16x8.extend_low_i8x16_s i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_s i16x8.extend_high_i8x16_u i16x8.extadd_pairwise_i8x16_s",
    ),
    ("v>v", 2, "i16x8.extadd_pairwise_i8x16_u"),
    (
        "v>i",
        1,
        "i16x8.all_true i16x8.bitmask i16x8.extract_lane_s:3 i16x8.extract_lane_u:3",
    ),
    ("vi>v", 2, "i16x8.shl i16x8.shr_s i16x8.shr_u"),
    ("vi>v", 1, "i16x8.replace_lane:3 i32x4.replace_lane:3"),
    (
        "vv>v",
        1,
        "i32x4.eq i32x4.ne i32x4.lt_s i32x4.gt_s i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u",
    ),
    ("vv>v", 2, "i32x4.lt_u i32x4.gt_u i32x4.mul"),
    (
        "vv>v",
        1,
        "i32x4.add i32x4.sub i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s",
    ),
    (
        "vv>v",
        2,
        "i32x4.extmul_low_i16x8_s i32x4.extmul_low_i16x8_u i32x4.extmul_high_i16x8_s i32x4.extmul_high_i16x8_u",
    ),
    (
        "v>v",
        1,
        "i32x4.abs i32x4.neg i32x4.extend_low_i16x8_s i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_s i32x4.extend_high_i16x8_u i32x4.extadd_pairwise_i16x8_s",
    ),
    ("v>v", 3, "i32x4.extadd_pairwise_i16x8_u"),
    (
        "v>i",
        1,
        "i32x4.all_true i32x4.bitmask i32x4.extract_lane:3 i64x2.all_true i64x2.bitmask",
    ),
    (
        "vi>v",
        2,
        "i32x4.shl i32x4.shr_s i32x4.shr_u i64x2.shl i64x2.shr_u",
    ),
    ("vi>v", 3, "i64x2.shr_s"),
    (
        "vv>v",
        1,
        "i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s i64x2.add i64x2.sub",
    ),
    ("vv>v", 4, "i64x2.mul"),
    (
        "vv>v",
        1,
        "i64x2.extmul_low_i32x4_s i64x2.extmul_low_i32x4_u i64x2.extmul_high_i32x4_s i64x2.extmul_high_i32x4_u",
    ),
    (
        "v>v",
        1,
        "i64x2.abs i64x2.neg i64x2.extend_low_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_s i64x2.extend_high_i32x4_u",
    ),
    ("l>v", 1, "i64x2.splat"),
    ("v>l", 1, "i64x2.extract_lane:1"),
    ("vl>v", 1, "i64x2.replace_lane:1"),
    (
        "vv>v",
        1,
        "f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge f32x4.pmin f32x4.pmax",
    ),
    ("vv>v", 2, "f32x4.add f32x4.sub f32x4.mul"),
    ("vv>v", 10, "f32x4.div"),
    ("vv>v", 4, "f32x4.min f32x4.max"),
    (
        "v>v",
        2,
        "f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest f32x4.abs f32x4.neg",
    ),
    ("v>v", 5, "f32x4.sqrt"),
    ("f>v", 1, "f32x4.splat"),
    ("v>f", 1, "f32x4.extract_lane:3"),
    ("vf>v", 1, "f32x4.replace_lane:3"),
    (
        "vv>v",
        1,
        "f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge f64x2.pmin f64x2.pmax",
    ),
    ("vv>v", 2, "f64x2.add f64x2.sub f64x2.mul"),
    ("vv>v", 12, "f64x2.div"),
    ("vv>v", 4, "f64x2.min"),
    ("vv>v", 5, "f64x2.max"),
    (
        "v>v",
        2,
        "f64x2.ceil f64x2.floor f64x2.trunc f64x2.nearest f64x2.abs f64x2.neg",
    ),
    ("v>v", 14, "f64x2.sqrt"),
    ("d>v", 1, "f64x2.splat"),
    ("v>d", 1, "f64x2.extract_lane:1"),
    ("vd>v", 1, "f64x2.replace_lane:1"),
    (
        "v>v",
        2,
        "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f64x2_s_zero",
    ),
    ("v>v", 3, "i32x4.trunc_sat_f64x2_u_zero"),
    ("v>v", 4, "i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_u"),
    (
        "v>v",
        1,
        "f32x4.convert_i32x4_s f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u f32x4.demote_f64x2_zero f64x2.promote_low_f32x4",
    ),
];

/// What does not fit into the table: code, and its cost without the function's entry.
const SHAPES: &[(&str, u64)] = &[
    ("nop", 1),
    (
        "(drop (i32.const 1)) (drop (i64.const 1)) (drop (f32.const 1)) (drop (f64.const 1))",
        8,
    ),
    ("(drop (v128.const i64x2 1 1))", 2),
    (
        "(drop (select (i32.const 1) (i32.const 2) (i32.const 3)))",
        3 + 1 + 1,
    ),
    (
        "(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 3)))",
        3 + 1 + 1,
    ),
    ("(local i32) (local.set 0 (local.tee 0 (local.get 0)))", 3),
    ("(global.set $g (global.get $g))", 2 + 2),
    ("(drop (memory.size))", 20 + 1),
    ("(drop (table.size $t))", 100 + 1),
    ("(drop (table.get $t (i32.const 0)))", 1 + 5 + 1),
    ("(drop (ref.is_null (ref.null func)))", 1 + 5 + 1),
    ("(drop (ref.func $leaf))", 130 + 1),
    ("(data.drop $d)", 300),
    ("(elem.drop $e)", 300),
    ("(block nop)", 1),
    ("(loop nop)", 1),
    ("(if (i32.const 1) (then nop) (else nop nop))", 1 + 2 + 1),
    ("(block (br 0))", 2),
    ("(block (br_if 0 (i32.const 0)))", 1 + 2),
    ("(block (br_table 0 0 (i32.const 0)))", 1 + 2),
    ("(return)", 1),
    ("(unreachable)", 1),
    ("(call $leaf)", 5 + 1),
    ("(call_indirect $t (i32.const 0))", 1 + 10 + 1),
    ("(return_call $leaf)", 3 + 1),
    ("(return_call_indirect $t (i32.const 0))", 1 + 60 + 1),
];

/// The same where addresses and sizes have the memory's width, `A`.
const SIZED_SHAPES: &[(&str, u64)] = &[
    ("(drop (memory.grow (A.const 0)))", 1 + 300 + 1),
    (
        "(memory.fill (A.const 0) (i32.const 1) (A.const 7))",
        3 + 100 + 7,
    ),
    (
        "(memory.copy (A.const 0) (A.const 9) (A.const 7))",
        3 + 100 + 7,
    ),
    (
        "(memory.init $d (A.const 0) (i32.const 0) (i32.const 3))",
        3 + 100 + 3,
    ),
];

/// Refused by validation, so they have no cost that could be seen.
const REFUSED: &[&str] = &[
    "typedselectmulti",
    "tableset",
    "tablegrow",
    "tablefill",
    "tablecopy",
    "tableinit",
];

/// One name for `i32.add`, `I32Add` and `i32.add:3`.
pub fn plain(name: &str) -> String {
    let name = name.split([':', ' ', '{', '(']).next().unwrap_or(name);
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase()
}

/// Costs by name, for modules with 32-bit memory: the table, and what [`SHAPES`] checks.
pub fn costs() -> BTreeMap<String, u64> {
    let mut costs = BTreeMap::new();
    for (_, cost, names) in TABLE {
        for name in names.split(' ') {
            costs.insert(plain(name), *cost);
        }
    }
    for (cost, names) in [
        (0, "block loop else end"),
        (
            1,
            "nop drop return unreachable select typedselect localget localset localtee",
        ),
        (1, "i32const i64const f32const f64const v128const refnull"),
        (2, "globalget globalset if br brif brtable"),
        (3, "returncall"),
        (5, "call tableget refisnull"),
        (10, "callindirect"),
        (20, "memorysize"),
        (60, "returncallindirect"),
        (100, "memoryfill memorycopy memoryinit tablesize"),
        (130, "reffunc"),
        (300, "memorygrow datadrop elemdrop"),
    ] {
        for name in names.split(' ') {
            costs.insert(name.into(), cost);
        }
    }
    costs
}

fn operand(kind: char, wide: bool) -> &'static str {
    match kind {
        'a' if wide => "(i64.const 8)",
        'a' | 'i' => "(i32.const 8)",
        'l' => "(i64.const 8)",
        'f' => "(f32.const 8)",
        'd' => "(f64.const 8)",
        'v' => "(v128.const i32x4 1 2 3 4)",
        other => panic!("no operand {other}"),
    }
}

/// Code and expected instructions of every case.
fn cases(wide: bool) -> Vec<(String, u64)> {
    let mut cases = Vec::new();
    for (signature, cost, names) in TABLE {
        let (operands, result) = signature.split_once('>').expect("a signature");
        for name in names.split(' ') {
            let list: Vec<&str> = operands.chars().map(|c| operand(c, wide)).collect();
            let call = format!("({} {})", name.replace(':', " "), list.join(" "));
            let dearer = u64::from(wide && operands.contains('a'));
            let mut expected = 1 + list.len() as u64 + cost + dearer;
            let code = if result.is_empty() {
                call
            } else {
                expected += 1;
                format!("(drop {call})")
            };
            cases.push((code, expected));
        }
    }
    let width = if wide { "i64" } else { "i32" };
    for (code, cost) in SHAPES.iter().chain(SIZED_SHAPES) {
        cases.push((code.replace("A.const", &format!("{width}.const")), 1 + cost));
    }
    cases
}

macro_rules! names {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        &[$((stringify!($proposal), stringify!($op))),*]
    };
}
const SCALAR: &[(&str, &str)] = wasmparser::for_each_visit_operator!(names);
const VECTOR: &[(&str, &str)] = wasmparser::for_each_visit_simd_operator!(names);

/// Names of all operators of the proposals that are on.
fn all_operators() -> BTreeSet<String> {
    const ON: &[&str] = &[
        "mvp",
        "sign_extension",
        "saturating_float_to_int",
        "bulk_memory",
        "reference_types",
        "simd",
        "tail_call",
    ];
    SCALAR
        .iter()
        .chain(VECTOR)
        .filter(|(proposal, _)| ON.contains(proposal))
        .map(|(_, name)| plain(name))
        .filter(|name| !REFUSED.contains(&name.as_str()))
        .collect()
}

/// Names of the operators that a module has.
fn operators_in(module: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let Ok(wasmparser::Payload::CodeSectionEntry(body)) = payload {
            for op in body.get_operators_reader().expect("parses") {
                names.insert(plain(&format!("{:?}", op.expect("parses"))));
            }
        }
    }
    names
}

#[test]
fn every_operator_costs_what_the_table_says() {
    for wide in [false, true] {
        let cases = cases(wide);
        let memory = if wide { "(memory i64 1)" } else { "(memory 1)" };
        let methods: String = cases
            .iter()
            .enumerate()
            .map(|(i, (code, _))| format!("(func (export \"canister_query {i}\") {code})\n"))
            .collect();
        let text = format!(
            "(module {memory} (table $t 4 funcref) (elem (table $t) (i32.const 0) func $leaf)
                (elem $e func $leaf) (global $g (mut i32) (i32.const 0)) (data $d \"123\")
                (func $leaf) {methods})"
        );
        let missing: Vec<_> = all_operators()
            .difference(&operators_in(&wasm(&text)))
            .cloned()
            .collect();
        assert!(missing.is_empty(), "without a case: {missing:?}");
        let (mut core, id) = with(&text);
        let wrong: Vec<String> = cases
            .iter()
            .enumerate()
            .filter_map(|(i, (code, expected))| {
                let counted = instructions(query(&mut core, &id, &i.to_string()));
                (counted != *expected).then(|| format!("{code}: {counted}, not {expected}"))
            })
            .collect();
        assert!(wrong.is_empty(), "64-bit memory: {wide}: {wrong:#?}");
    }
}
