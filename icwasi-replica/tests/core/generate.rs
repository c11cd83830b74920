//! Random programs for [`super::paths`]: all kinds of control flow, traps on purpose, and
//! readings of `performance_counter` anywhere, which go into the reply.

/// SplitMix64: programs have to be the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Helper functions of a program; each may call those before it.
const FUNCTIONS: u64 = 4;
/// Where readings of the counter are kept.
const LOG: u64 = 32_768;

struct Writer {
    r: Random,
    /// Function that is written; it may call those with smaller numbers.
    function: u64,
    /// Labels around the current position.
    labels: Vec<String>,
    /// Loop counters handed out in this function.
    counters: u64,
    next_label: u64,
    /// How much more may be written.
    budget: i64,
}

impl Writer {
    fn constant(&mut self) -> String {
        let value = match self.r.below(6) {
            0 => 0,
            1 => 1,
            2 => -1,
            3 => self.r.below(65_536) as i32,
            4 => i32::MIN,
            _ => self.r.next() as i32,
        };
        format!("(i32.const {value})")
    }

    /// An expression of type i32.
    fn int(&mut self, depth: u64) -> String {
        self.budget -= 1;
        if depth == 0 || self.budget < 0 {
            return match self.r.below(3) {
                0 => self.constant(),
                n => format!("(local.get ${})", if n == 1 { "a" } else { "b" }),
            };
        }
        let d = depth - 1;
        match self.r.below(24) {
            0..6 => {
                let op = self
                    .r
                    .pick(&["add", "sub", "mul", "and", "or", "xor", "shr_u", "rotl"]);
                format!("(i32.{op} {} {})", self.int(d), self.int(d))
            }
            6..9 => {
                let op = self.r.pick(&["eq", "lt_u", "gt_s"]);
                format!("(i32.{op} {} {})", self.int(d), self.int(d))
            }
            9 => format!("(i32.eqz {})", self.int(d)),
            10 => format!("(i32.load {})", self.address(d)),
            11 => format!("(i32.load8_u offset=3 {})", self.address(d)),
            12 => {
                let op = self.r.pick(&["div_u", "rem_u", "div_s"]);
                // Usually not by zero.
                let by = match self.r.below(8) {
                    0 => self.int(d),
                    _ => format!("(i32.or (i32.const 5) {})", self.int(0)),
                };
                format!("(i32.{op} {} {by})", self.int(d))
            }
            13 => format!("(i32.wrap_i64 {})", self.long(d)),
            14 => format!("(i64.gt_u {} {})", self.long(d), self.long(d)),
            15 => format!("(select {} {} {})", self.int(d), self.int(d), self.int(d)),
            16 => format!("(local.tee $a {})", self.int(d)),
            17 => format!(
                "(if (result i32) {} (then {}) (else {}))",
                self.int(d),
                self.int(d),
                self.int(d)
            ),
            18 => format!("(i32.extend8_s {})", self.int(d)),
            19 => {
                let op = self.r.pick(&["trunc_sat_f64_s", "trunc_f64_s"]);
                let by = self.r.pick(&["0.5", "1e3", "1e-3"]);
                format!(
                    "(i32.{op} (f64.mul (f64.convert_i32_s {}) (f64.convert_i32_s {})))",
                    self.int(0),
                    if by == "1e3" {
                        self.int(0)
                    } else {
                        "(i32.const 1)".into()
                    }
                )
            }
            20 => format!(
                "(f64.lt (f64.convert_i32_s {}) (f64.convert_i32_s {}))",
                self.int(d),
                self.int(0)
            ),
            21 => {
                // A value is carried over the edge, and the block may start with a bulk operator.
                format!(
                    "(block (result i32) (drop (br_if 0 {} {})) {})",
                    self.int(d),
                    self.int(d),
                    self.int(d)
                )
            }
            _ => self.call(d),
        }
    }

    fn long(&mut self, depth: u64) -> String {
        self.budget -= 1;
        if depth == 0 || self.budget < 0 {
            return "(local.get $x)".into();
        }
        let d = depth - 1;
        match self.r.below(5) {
            0 => format!("(i64.extend_i32_u {})", self.int(d)),
            1 => format!("(i64.load {})", self.address(d)),
            2 => format!("(i64.rem_u {} (i64.const 7))", self.long(d)),
            3 => "(call $time)".into(),
            _ => {
                let op = self.r.pick(&["add", "mul", "xor"]);
                format!("(i64.{op} {} {})", self.long(d), self.long(d))
            }
        }
    }

    /// Usually below the log.
    fn address(&mut self, depth: u64) -> String {
        match self.r.below(40) {
            0 => self.int(depth),
            _ => format!("(i32.and {} (i32.const 0x3fff))", self.int(depth)),
        }
    }

    fn call(&mut self, depth: u64) -> String {
        if self.function == 0 {
            return self.int(depth);
        }
        let callee = self.r.below(self.function);
        match self.r.below(4) {
            // Elements beyond the functions are null, or not there.
            0 if self.r.below(10) == 0 => format!(
                "(call_indirect (type $t) {} (i32.const {}))",
                self.int(depth),
                self.r.below(9)
            ),
            0 => format!(
                "(call_indirect (type $t) {} (i32.const {callee}))",
                self.int(depth)
            ),
            _ => format!("(call $f{callee} {})", self.int(depth)),
        }
    }

    fn note(&mut self) -> String {
        "(i64.store (global.get $p) (call $counter (i32.const 0)))
         (global.set $p (i32.add (global.get $p) (i32.const 8)))"
            .into()
    }

    fn statements(&mut self, depth: u64) -> String {
        let n = 1 + self.r.below(4);
        (0..n).map(|_| self.statement(depth) + "\n").collect()
    }

    fn inside(&mut self, depth: u64) -> (String, String) {
        let label = format!("$l{}", self.next_label);
        self.next_label += 1;
        self.labels.push(label.clone());
        let body = self.statements(depth);
        self.labels.pop();
        (label, body)
    }

    fn statement(&mut self, depth: u64) -> String {
        self.budget -= 1;
        if self.budget < 0 {
            return "nop".into();
        }
        if depth == 0 {
            return match self.r.below(8) {
                0 => self.note(),
                1 => format!("(local.set $x {})", self.long(2)),
                2 => format!("(i32.store {} {})", self.address(1), self.int(2)),
                3 => format!("(i64.store {} {})", self.address(1), self.long(1)),
                4 => format!("(global.set $g {})", self.int(1)),
                5 => "nop".into(),
                n => format!(
                    "(local.set ${} {})",
                    if n == 6 { "a" } else { "b" },
                    self.int(3)
                ),
            };
        }
        let d = depth - 1;
        match self.r.below(22) {
            0..3 => format!(
                "(if {} (then {}) (else {}))",
                self.int(2),
                self.statements(d),
                self.statements(d)
            ),
            3 => format!("(if {} (then {}))", self.int(2), self.statements(d)),
            4..7 => {
                let counter = format!("$n{}", self.counters);
                self.counters += 1;
                let rounds = 1 + self.r.below(6);
                let (label, body) = self.inside(d);
                let out = if self.r.below(2) == 0 {
                    format!("(br_if 1 {})", self.int(1))
                } else {
                    String::new()
                };
                // Branches to the loop's label from inside go through its counter too.
                format!(
                    "(local.set {counter} (i32.const {rounds}))
                     (block (loop {label}
                        (local.set {counter} (i32.sub (local.get {counter}) (i32.const 1)))
                        (br_if 1 (i32.eqz (local.get {counter})))
                        {body} {out}
                        (br {label})))"
                )
            }
            7..9 => {
                let (label, body) = self.inside(d);
                format!(
                    "(block {label} {body} (br_if {label} {}) {})",
                    self.int(2),
                    self.note()
                )
            }
            9 if !self.labels.is_empty() => {
                let label = self.labels[self.r.below(self.labels.len() as u64) as usize].clone();
                format!("(br_if {label} {})", self.int(2))
            }
            10 => {
                let (first, a) = self.inside(d);
                let second = format!("$l{}", self.next_label);
                self.next_label += 1;
                let b = self.statements(d);
                format!(
                    "(block {first} (block {second} (br_table {second} {first} {second} {})) {a}) {b}",
                    self.int(1)
                )
            }
            11 => format!(
                "(memory.fill {} (i32.const 7) (i32.and {} (i32.const 0xff)))",
                self.address(1),
                self.int(1)
            ),
            12 => format!(
                "(memory.copy {} {} (i32.and {} (i32.const 0x1ff)))",
                self.address(1),
                self.address(1),
                self.int(1)
            ),
            13 => "(memory.init $d (i32.const 8) (i32.const 1) (i32.const 4))".into(),
            14 => format!("(drop (memory.grow (i32.const {})))", self.r.below(3)),
            15 => format!(
                "(call $write (i64.const {}) (i64.const {}) (i64.const {}))",
                self.r.below(140_000),
                self.r.below(60_000),
                self.r.below(9_000)
            ),
            16 => format!(
                "(call $read (i64.const {}) (i64.const {}) (i64.const {}))",
                self.r.below(16_000),
                self.r.below(131_000),
                self.r.below(1_000)
            ),
            17 => format!(
                "(call $print (i32.const 0) (i32.const {}))",
                self.r.below(3_000)
            ),
            18 => match self.r.below(12) {
                0 => format!("(if {} (then unreachable))", self.int(2)),
                1 => format!(
                    "(if {} (then {} (return (i32.const 3))))",
                    self.int(2),
                    self.note()
                ),
                2 if self.function > 0 => format!(
                    "(if {} (then (return_call $f{} {})))",
                    self.int(2),
                    self.r.below(self.function),
                    self.int(1)
                ),
                3 if self.function > 0 => format!(
                    "(if {} (then (return_call_indirect (type $t) {} (i32.const {}))))",
                    self.int(2),
                    self.int(1),
                    self.r.below(self.function)
                ),
                _ => format!("(local.set $b {})", self.call(2)),
            },
            _ => self.statement(0),
        }
    }
}

/// A program with the method `m`.
pub fn program(seed: u64) -> String {
    let mut text = String::from(
        r#"(module
        (type $t (func (param i32) (result i32)))
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
        (import "ic0" "time" (func $time (result i64)))
        (import "ic0" "debug_print" (func $print (param i32 i32)))
        (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
        (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
        (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
        (memory 2 5)
        (table 7 funcref)
        (elem (i32.const 0) $f0 $f1 $f2 $f3 $other)
        (global $g (mut i32) (i32.const 9))
        (global $p (mut i32) (i32.const 32768))
        (data (i32.const 100) "some data at the beginning")
        (data $d "passive")
        (func $other)
        "#,
    );
    let mut w = Writer {
        r: Random(seed),
        function: 0,
        labels: vec![],
        counters: 0,
        next_label: 0,
        budget: 0,
    };
    for n in 0..=FUNCTIONS {
        w.function = n;
        w.counters = 0;
        w.budget = 120;
        let body = w.statements(3);
        let counters: String = (0..w.counters)
            .map(|i| format!("(local $n{i} i32)"))
            .collect();
        let result = w.int(1);
        text += &format!(
            "(func $f{n} (type $t) (param $a i32) (result i32) (local $b i32) (local $x i64)
                {counters}\n{body} {result})\n"
        );
    }
    text += &format!(
        r#"(func (export "canister_query m")
            (drop (call $grow (i64.const 2)))
            (i32.store (i32.const 0) (call $f{FUNCTIONS} (i32.const 3)))
            (call $append (i32.const 0) (i32.const 256))
            (call $append (i32.const {LOG}) (i32.sub (global.get $p) (i32.const {LOG})))
            (call $reply)))"#
    );
    text
}
