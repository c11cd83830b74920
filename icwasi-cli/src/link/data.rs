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

/// Data that the linker adds to the guest's.
#[derive(Default)]
pub(crate) struct Placed<'c> {
    /// The library's and the guard's: address and bytes.
    pub active: Vec<(u32, Vec<u8>)>,
    /// Written over the guest's own data: address and bytes.
    pub patch: Option<(u32, [u8; 8])>,
    /// The configuration, passive.
    pub config: &'c [u8],
    /// The text of an overlap, passive, behind the configuration.
    pub overlap: &'c [u8],
}

impl DataSection {
    /// Joins the segments: the guest's keep their order, `placed` comes behind. Neighbours of the
    /// guest are joined only where there are too many.
    ///
    /// `refill`: the guest's active segments become passive, and are listed in
    /// [`Self::initial`].
    pub fn new(guest: &Module<'_>, placed: &Placed<'_>, refill: bool) -> Result<Self, LinkError> {
        let room = MAX_SEGMENTS.saturating_sub(placed.active.len() + 3);
        if refill {
            return Self::refilled(guest, placed, room);
        }
        let mut content = Vec::with_capacity(guest.data_bytes.len() + placed.bytes());
        let (guest_count, guest_map) = if guest.data.len() <= room {
            content.extend_from_slice(guest.data_bytes);
            (guest.data.len() as u32, None)
        } else {
            let groups = coalesce(&guest.data, room)?;
            let map = encode_groups(guest, &groups, &mut content)?;
            (groups.len() as u32, Some(map))
        };
        let mut section = DataSection {
            content,
            count: guest_count,
            guest_map,
            config_segment: 0,
            initial: Vec::new(),
        };
        if let Some((address, bytes)) = &placed.patch {
            section.push_active(*address, bytes);
        }
        section.push(placed);
        Ok(section)
    }

    /// All of the guest's segments passive.
    fn refilled(guest: &Module<'_>, placed: &Placed<'_>, room: usize) -> Result<Self, LinkError> {
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
        let mut section = DataSection {
            content: Vec::with_capacity(guest.data_bytes.len() + placed.bytes()),
            count: 0,
            guest_map: None,
            config_segment: 0,
            initial: Vec::new(),
        };
        let mut map = vec![0; guest.data.len()];
        for group in &groups {
            map[group.clone()].fill(section.count);
            let (joined, start) = join(guest, group);
            section.push_initial(start, &joined);
        }
        section.guest_map = Some(map);
        if let Some((address, bytes)) = &placed.patch {
            section.push_initial(Some(*address), bytes);
        }
        section.push(placed);
        Ok(section)
    }

    /// Adds what is not the guest's.
    fn push(&mut self, placed: &Placed<'_>) {
        for (address, data) in &placed.active {
            self.push_active(*address, data);
        }
        self.config_segment = self.count;
        self.push_passive(placed.config);
        if !placed.overlap.is_empty() {
            self.push_passive(placed.overlap);
        }
    }

    fn push_active(&mut self, address: u32, data: &[u8]) {
        self.content.push(0);
        self.content.push(0x41);
        sleb(&mut self.content, i64::from(address as i32));
        self.content.push(0x0b);
        bytes(&mut self.content, data);
        self.count += 1;
    }

    fn push_passive(&mut self, data: &[u8]) {
        self.content.push(1);
        bytes(&mut self.content, data);
        self.count += 1;
    }

    /// A segment that is copied before each run, if it has an address.
    fn push_initial(&mut self, address: Option<u32>, data: &[u8]) {
        self.initial.extend(address.map(|address| Initial {
            segment: self.count,
            address,
            length: data.len() as u32,
        }));
        self.push_passive(data);
    }
}

impl Placed<'_> {
    /// Bytes of the encoding, about.
    fn bytes(&self) -> usize {
        let active: usize = self.active.iter().map(|(_, data)| data.len() + 16).sum();
        active + self.config.len() + self.overlap.len() + 64
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
/// Filling a gap writes zeros, so segments must not overlap, and only those are joined between
/// which nothing else lies.
fn coalesce(segments: &[Data<'_>], room: usize) -> Result<Vec<std::ops::Range<usize>>, LinkError> {
    let too_many = || LinkError::Unsupported {
        feature: format!("{} data segments", segments.len()),
        advice: "a module may have 100,000; they overlap or lie too far apart to be joined",
    };
    let placed = (0..).zip(segments);
    let mut placed: Vec<(u32, usize)> = placed
        .filter_map(|(at, s)| Some((address(s)?, at)))
        .collect();
    placed.sort_unstable();
    let mut behind = 0;
    let mut rank = vec![0; segments.len()];
    for (place, (start, at)) in placed.into_iter().enumerate() {
        if start < behind {
            return Err(too_many());
        }
        behind = start
            .checked_add(segments[at].data.len() as u32)
            .ok_or_else(too_many)?;
        rank[at] = place + 1;
    }
    for gap in GAPS {
        let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
        let mut end = None;
        for (at, segment) in segments.iter().enumerate() {
            let start = address(segment);
            let joins = match (start, end) {
                (Some(start), Some(end)) => rank[at] == rank[at - 1] + 1 && start - end <= gap,
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
