//! How the guest's allocator takes the pages that `memory.grow` gives it (*inject*).
//!
//! New pages lie behind the library, not behind the guest's old ones. Most allocators use the
//! address that `memory.grow` returns. Others take for granted that it is the end of what they
//! have (AssemblyScript, TinyGo, Emscripten), and would write into the library. They are told
//! apart by what the code does with the result.
//!
//! Go begins its heap where its data ends, whatever the size of the memory, and goes on from there.
//! The end is a field of the table that describes its module (`runtime.firstmoduledata`): it is set
//! behind the library, so that all growth is contiguous.

use wasmparser::Operator;

use super::error::LinkError;
use super::exec::active_segments;
use super::parse::Module;

/// What the guest expects of new pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It takes them where they are.
    Anywhere,
    /// It takes for granted that they follow the old ones.
    Contiguous,
    /// As [`Growth::Contiguous`], but its heap is placed behind the library.
    Moved {
        /// Where in memory the address of the heap is, 8 bytes.
        field: u32,
    },
}

impl Growth {
    /// `anywhere`, `contiguous` or `moved`.
    pub fn name(self) -> &'static str {
        match self {
            Growth::Anywhere => "anywhere",
            Growth::Contiguous => "contiguous",
            Growth::Moved { .. } => "moved",
        }
    }

    /// Finds out. Fails if code cannot be read.
    ///
    /// Cost: a search for bytes in the code, and a pass over the functions that grow the memory.
    pub(crate) fn of(guest: &Module<'_>) -> Result<Self, LinkError> {
        let go = guest.custom_section("go:buildid").is_some()
            || guest.custom_section("go.buildid").is_some();
        if go {
            return Ok(match heap_field(guest)? {
                Some(field) => Growth::Moved { field },
                None => Growth::Contiguous,
            });
        }
        for range in &guest.bodies {
            // `memory.grow 0`; functions without it need not be decoded.
            let bytes = &guest.bytes[range.clone()];
            if bytes.windows(2).any(|pair| pair == [0x40, 0]) && ignores_address(guest, range)? {
                return Ok(Growth::Contiguous);
            }
        }
        Ok(Growth::Anywhere)
    }
}

/// Whether a function grows the memory and uses the result for a comparison at most.
fn ignores_address(guest: &Module<'_>, body: &std::ops::Range<usize>) -> Result<bool, LinkError> {
    use Operator as O;
    let mut ops = guest.body(body).get_operators_reader()?;
    // The two operators before.
    let (mut grown, mut constant) = (false, false);
    while !ops.eof() {
        let op = ops.read()?;
        let compared = match op {
            O::Drop | O::I32Eqz => grown,
            O::I32Eq
            | O::I32Ne
            | O::I32LtS
            | O::I32LtU
            | O::I32GtS
            | O::I32GtU
            | O::I32LeS
            | O::I32LeU
            | O::I32GeS
            | O::I32GeU => constant,
            _ => false,
        };
        if compared {
            return Ok(true);
        }
        constant = grown && matches!(op, O::I32Const { .. });
        grown = matches!(op, O::MemoryGrow { .. });
    }
    Ok(false)
}

/// Go's linker makes the memory larger than the program's data by this at most.
const SLACK: u64 = (16 << 20) + 2 * super::layout::PAGE;

/// Where a Go program keeps the end of its data. `None` if that is not found exactly once.
///
/// It is a field of `runtime.moduledata`, known by its neighbours. Before it: start and end of four
/// sections of data, in rising order, and of the coverage counters; behind it: addresses in the
/// read-only data.
fn heap_field(guest: &Module<'_>) -> Result<Option<u32>, LinkError> {
    let memory = guest.memory.map_or(0, |m| m.initial) * super::layout::PAGE;
    let image = image(guest)?;
    let field = |at: usize| u64_at(&image, at);
    let mut found = None;
    for at in (80..image.len()).step_by(8) {
        let end = field(at);
        // Cheap tests first: this runs for every eight bytes of the data.
        if end < image.len() as u64 || end > memory || memory - end > SLACK {
            continue;
        }
        let sections: [u64; 8] = std::array::from_fn(|n| field(at - 80 + 8 * n));
        let rises = sections.windows(2).all(|pair| pair[0] <= pair[1]);
        // The last byte of data that is not zero is in the last section that has any.
        let (start, data_end) = (sections[0], sections[3]);
        let (last, counters) = (sections[7], [field(at - 16), field(at - 8)]);
        let counted = counters == [0, 0]
            || last <= counters[0] && counters[0] <= counters[1] && counters[1] <= end;
        // `gcdata`, `gcbss`, `types` and `etypes`.
        let read_only: [u64; 4] = std::array::from_fn(|n| field(at + 8 + 8 * n));
        let fits = rises
            && image.len() as u64 <= data_end
            && last <= end
            && counted
            && read_only.iter().all(|value| (1..start).contains(value));
        if fits && found.replace(at as u32).is_some() {
            return Ok(None);
        }
    }
    Ok(found)
}

/// The guest's data as it lies in memory, zeros in the gaps.
fn image(guest: &Module<'_>) -> Result<Vec<u8>, LinkError> {
    let mut image = Vec::new();
    let active = guest
        .data
        .iter()
        .filter(|segment| matches!(segment.kind, wasmparser::DataKind::Active { .. }));
    for (range, segment) in active_segments(guest)?.into_iter().zip(active) {
        let (start, end) = (range.start as usize, range.end as usize);
        if image.len() < end {
            image.resize(end, 0);
        }
        image[start..end].copy_from_slice(segment.data);
    }
    Ok(image)
}

fn u64_at(image: &[u8], at: usize) -> u64 {
    let bytes = image.get(at..at + 8);
    bytes.map_or(0, |bytes| {
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(body: &str) -> Growth {
        let text =
            format!("(module (memory 1) (func (param i32) (result i32) (local i32) {body}))");
        let module = wat::parse_str(text).expect("is valid");
        Growth::of(&Module::parse(&module).expect("parses")).expect("is readable")
    }

    #[test]
    fn the_use_of_the_result_tells() {
        let anywhere = [
            "local.get 0",
            "(memory.grow (local.get 0))",
            "(local.set 1 (memory.grow (local.get 0))) local.get 1",
            "(i32.shl (memory.grow (i32.const 1)) (i32.const 16))",
            "(i32.load (i32.mul (local.get 0) (local.tee 1 (memory.grow (i32.const 1)))))",
            // The bytes of `memory.grow`, but as an immediate.
            "(drop (i32.const 64)) block unreachable end i32.const 0 drop local.get 0",
        ];
        for body in anywhere {
            assert_eq!(growth(body), Growth::Anywhere, "{body}");
        }
        let contiguous = [
            "(drop (memory.grow (local.get 0))) local.get 0",
            "(i32.lt_s (memory.grow (local.get 0)) (i32.const 0))",
            "(i32.ne (memory.grow (local.get 0)) (i32.const -1))",
            "(i32.eqz (memory.grow (local.get 0)))",
        ];
        for body in contiguous {
            assert_eq!(growth(body), Growth::Contiguous, "{body}");
        }
    }

    /// A Go module in miniature: segments that leave zeros out, as Go's linker does.
    fn go(end: u64, counters: u64, twice: bool) -> Vec<u8> {
        let sections = [
            0x900, 0x1000, 0x1200, 0x1200, 0x1400, 0x1400, 0x1500, 0x1500, 0x1600,
        ];
        let rest = [counters, counters, end, 0x800, 0x804, 0x400, 0x700, 0x300];
        let fields = sections.iter().chain(&rest);
        let table: Vec<u8> = fields.flat_map(|v: &u64| v.to_le_bytes()).collect();
        let escape = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|b| format!("\\{b:02x}"))
                .collect::<String>()
        };
        let (low, high) = table.split_at(20);
        let again = match twice {
            true => format!("(data (i32.const 4608) \"{}\")", escape(&table)),
            false => String::new(),
        };
        let text = format!(
            "(module (@custom \"go:buildid\" \"x\") (memory 17)
             (data (i32.const 4096) \"{}\") (data (i32.const 4116) \"{}\") {again})",
            escape(low),
            escape(high),
        );
        wat::parse_str(text).expect("is valid")
    }

    #[test]
    fn the_end_of_the_data_of_go_is_found_if_there_is_one() {
        let growth = |module: &[u8]| {
            Growth::of(&Module::parse(module).expect("parses")).expect("is readable")
        };
        let moved = Growth::Moved {
            field: 4096 + 8 * 11,
        };
        for counters in [0, 0x1600, 0x1700] {
            assert_eq!(growth(&go(0x1700, counters, false)), moved, "{counters:x}");
        }
        assert_eq!(growth(&go(0x1700, 0, true)), Growth::Contiguous);
        // Not the end of the data: it lies outside the memory.
        assert_eq!(growth(&go(18 << 16, 0, false)), Growth::Contiguous);
    }
}
