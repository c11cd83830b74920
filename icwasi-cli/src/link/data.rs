//! Data segments: the guest's, the library's, and the configuration.

use wasmparser::{Data, DataKind};

use super::body::BodyRewriter;
use super::encode::{bytes, sleb, uleb};
use super::error::LinkError;
use super::parse::{Module, const_i32};

/// Most data segments that a module may have.
const MAX_SEGMENTS: usize = 100_000;
/// Segments of a command from which on neighbours are joined.
const REFILLED: usize = 4_096;
/// Gaps of zeros between segments that are tried, smallest first, until the count fits.
const GAPS: [u32; 7] = [0, 16, 64, 256, 1_024, 4_096, 16_384];

/// The data section of the output without its count, and how segments were renumbered.
pub(crate) struct DataSection {
    pub content: Vec<u8>,
    pub count: u32,
    /// New index of each of the guest's segments; `None` if they kept theirs.
    pub guest_map: Option<Vec<u32>>,
    /// Index of the configuration's segment.
    pub config_segment: u32,
    /// The guest's segments that are copied before each run of a command, in order.
    pub initial: Vec<Initial>,
}

impl DataSection {
    /// Joins the segments: the guest's keep their order, `library` (address and bytes) and
    /// `config` come behind. Neighbours of the guest are joined only where there are too many.
    ///
    /// `refill`: the guest's active segments become passive, and are listed in
    /// [`Self::initial`].
    pub fn new(
        guest: &Module<'_>,
        library: &[(u32, Vec<u8>)],
        config: &[u8],
        refill: bool,
    ) -> Result<Self, LinkError> {
        let room = MAX_SEGMENTS.saturating_sub(library.len() + 1);
        if refill {
            return Self::refilled(guest, library, config, room);
        }
        let mut content = Vec::with_capacity(guest.data_bytes.len() + config.len() + 64);
        let (guest_count, guest_map) = if guest.data.len() <= room {
            content.extend_from_slice(guest.data_bytes);
            (guest.data.len() as u32, None)
        } else {
            let groups = coalesce(&guest.data, room)?;
            let map = encode_groups(guest, &groups, &mut content)?;
            (groups.len() as u32, Some(map))
        };
        Ok(Self::behind(
            content,
            guest_count,
            guest_map,
            Vec::new(),
            library,
            config,
        ))
    }

    /// All of the guest's segments passive.
    fn refilled(
        guest: &Module<'_>,
        library: &[(u32, Vec<u8>)],
        config: &[u8],
        room: usize,
    ) -> Result<Self, LinkError> {
        let single = || (0..guest.data.len()).map(|at| at..at + 1).collect();
        let groups: Vec<std::ops::Range<usize>> = match guest.data.len() {
            // Each costs some instructions of every run.
            n if n > REFILLED => match coalesce(&guest.data, REFILLED) {
                Ok(groups) => groups,
                Err(_) if n <= room => single(),
                Err(error) => return Err(error),
            },
            _ => single(),
        };
        let mut content = Vec::with_capacity(guest.data_bytes.len() + config.len() + 64);
        let mut map = vec![0; guest.data.len()];
        let mut initial = Vec::new();
        for (new, group) in (0..).zip(&groups) {
            map[group.clone()].fill(new);
            let (joined, start) = join(guest, group);
            content.push(1);
            bytes(&mut content, &joined);
            if let Some(address) = start {
                initial.push(Initial {
                    segment: new,
                    address,
                    length: joined.len() as u32,
                });
            }
        }
        let count = groups.len() as u32;
        Ok(Self::behind(
            content,
            count,
            Some(map),
            initial,
            library,
            config,
        ))
    }

    /// Adds what is not the guest's.
    fn behind(
        mut content: Vec<u8>,
        guest_count: u32,
        guest_map: Option<Vec<u32>>,
        initial: Vec<Initial>,
        library: &[(u32, Vec<u8>)],
        config: &[u8],
    ) -> Self {
        for (address, data) in library {
            content.push(0);
            content.push(0x41);
            sleb(&mut content, i64::from(*address as i32));
            content.push(0x0b);
            bytes(&mut content, data);
        }
        let config_segment = guest_count + library.len() as u32;
        content.push(1);
        bytes(&mut content, config);
        DataSection {
            content,
            count: config_segment + 1,
            guest_map,
            config_segment,
            initial,
        }
    }
}

/// A segment to be copied before each run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initial {
    pub segment: u32,
    pub address: u32,
    pub length: u32,
}

/// Bytes of a group, with zeros in its gaps, and the address of its first one.
fn join(guest: &Module<'_>, group: &std::ops::Range<usize>) -> (Vec<u8>, Option<u32>) {
    let start = address(&guest.data[group.start]);
    let mut joined = Vec::new();
    for segment in &guest.data[group.clone()] {
        let at = address(segment)
            .zip(start)
            .map_or(0, |(at, start)| at - start);
        joined.resize(at as usize, 0);
        joined.extend_from_slice(segment.data);
    }
    (joined, start)
}

/// Address of an active segment at a fixed place.
fn address(segment: &Data<'_>) -> Option<u32> {
    match &segment.kind {
        DataKind::Active {
            memory_index: 0,
            offset_expr,
        } => const_i32(offset_expr),
        _ => None,
    }
}

/// Ranges of consecutive segments that become one.
///
/// Filling a gap writes zeros where a segment before may have written something else, so all
/// segments must lie in rising order.
fn coalesce(segments: &[Data<'_>], room: usize) -> Result<Vec<std::ops::Range<usize>>, LinkError> {
    let too_many = || LinkError::Unsupported {
        feature: format!("{} data segments", segments.len()),
        advice: "a module may have 100,000; they overlap or lie too far apart to be joined",
    };
    let mut behind = 0;
    for (start, data) in segments.iter().filter_map(|s| Some((address(s)?, s.data))) {
        if start < behind {
            return Err(too_many());
        }
        behind = start.checked_add(data.len() as u32).ok_or_else(too_many)?;
    }
    for gap in GAPS {
        let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
        let mut end = None;
        for (at, segment) in segments.iter().enumerate() {
            let start = address(segment);
            let joins = match (start, end) {
                (Some(start), Some(end)) => start - end <= gap,
                _ => false,
            };
            match groups.last_mut() {
                Some(last) if joins => last.end = at + 1,
                _ => groups.push(at..at + 1),
            }
            end = start.map(|start| start + segment.data.len() as u32);
        }
        if groups.len() <= room {
            return Ok(groups);
        }
    }
    Err(too_many())
}

fn encode_groups(
    guest: &Module<'_>,
    groups: &[std::ops::Range<usize>],
    out: &mut Vec<u8>,
) -> Result<Vec<u32>, LinkError> {
    let mut map = vec![0; guest.data.len()];
    for (new, group) in (0..).zip(groups) {
        map[group.clone()].fill(new);
        let first = &guest.data[group.start];
        let Some(start) = address(first) else {
            encode_other(guest, first, out)?;
            continue;
        };
        let (joined, _) = join(guest, group);
        out.push(0);
        out.push(0x41);
        sleb(out, i64::from(start as i32));
        out.push(0x0b);
        bytes(out, &joined);
    }
    Ok(map)
}

fn encode_other(
    guest: &Module<'_>,
    segment: &Data<'_>,
    out: &mut Vec<u8>,
) -> Result<(), LinkError> {
    match &segment.kind {
        DataKind::Passive => out.push(1),
        DataKind::Active {
            memory_index,
            offset_expr,
        } => {
            out.push(2);
            uleb(out, u64::from(*memory_index));
            BodyRewriter::default().rewrite_const(offset_expr, guest.bytes, out)?;
        }
    }
    bytes(out, segment.data);
    Ok(())
}
