//! Commands: programs with `_start`, which a method of the canister runs.
//!
//! Each run starts from the program's initial memory: its data segments are passive and copied
//! before each run, its globals are set, and what `memory.grow` gave to earlier runs is zeroed
//! when it is handed out again.

use wasmparser::DataKind;

use super::LinkOptions;
use super::entry::{is_admin, is_entry};
use super::error::LinkError;
use super::parse::{Module, const_i32};

/// Name of the method that runs a command, unless told otherwise.
pub const DEFAULT_EXEC_METHOD: &str = "icwasi_exec";

/// Who may run a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecAccess {
    /// Controllers of the canister and, with the admin endpoints, whom they granted the role
    /// admin; never the anonymous principal.
    #[default]
    Controllers,
    /// These, and who was granted the role writer. Needs the admin endpoints.
    Writers,
    /// Everybody.
    Public,
}

impl ExecAccess {
    /// As `icwasi.exec` is told; `admin`: there are admin endpoints.
    pub(crate) fn code(self, admin: bool) -> i32 {
        match self {
            ExecAccess::Controllers if admin => 3,
            ExecAccess::Controllers => 0,
            ExecAccess::Public => 1,
            ExecAccess::Writers => 2,
        }
    }
}

/// The method that runs the program.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    pub method: String,
    pub access: ExecAccess,
}

impl Exec {
    /// What the options and the guest ask for; `inject` is the mode.
    pub fn new(
        guest: &Module<'_>,
        options: &LinkOptions,
        inject: bool,
    ) -> Result<Option<Self>, LinkError> {
        let start = guest.export("_start").is_some();
        let methods = guest
            .exports
            .iter()
            .any(|e| is_entry(e.name) && !is_admin(e.name));
        if !start || methods {
            return match options.exec_method {
                None => Ok(None),
                Some(_) if start => Err(LinkError::NotACommand("it exports methods")),
                Some(_) => Err(LinkError::NotACommand("it does not export `_start`")),
            };
        }
        if !inject {
            return Err(LinkError::Command);
        }
        let method = options.exec_method.as_deref();
        let method = method.unwrap_or(DEFAULT_EXEC_METHOD);
        check_name(method)?;
        if options.exec_access == ExecAccess::Writers && !options.admin {
            return Err(LinkError::Option {
                option: "--exec-access",
                message: "writers are who was granted that role, which needs the admin endpoints: \
                          add --admin"
                    .to_owned(),
            });
        }
        Ok(Some(Exec {
            method: method.to_owned(),
            access: options.exec_access,
        }))
    }

    /// The method in candid.
    pub fn interface(&self) -> String {
        let name = self.method.replace('\\', "\\\\").replace('"', "\\\"");
        EXEC_INTERFACE.replace(DEFAULT_EXEC_METHOD, &format!("\"{name}\""))
    }
}

/// The method in candid, under its default name.
const EXEC_INTERFACE: &str = include_str!("../../../candid/exec.did");

fn check_name(name: &str) -> Result<(), LinkError> {
    let bad = |message: &str| {
        Err(LinkError::Option {
            option: "--exec-method",
            message: format!("{name:?} {message}"),
        })
    };
    if name.is_empty() || name.len() > 200 || name.contains(|c: char| c.is_control()) {
        return bad("is not a method name: 1 to 200 bytes, no control characters");
    }
    if icwasi_types::methods::ALL.contains(&name) {
        return bad("is a method of the admin interface");
    }
    Ok(())
}

/// Gaps that are filled one by one; with more, all of the memory is filled.
const MAX_GAPS: usize = 64;

/// Where the guest's active data segments lie, in their order.
///
/// Fails if one does not lie at a fixed place within the memory that the guest declares: behind it
/// is the library.
pub(crate) fn active_segments(guest: &Module<'_>) -> Result<Vec<std::ops::Range<u64>>, LinkError> {
    let end = guest.memory.map_or(0, |m| m.initial) * super::layout::PAGE;
    let mut ranges = Vec::with_capacity(guest.data.len());
    for segment in &guest.data {
        let DataKind::Active { offset_expr, .. } = &segment.kind else {
            continue;
        };
        let Some(start) = const_i32(offset_expr) else {
            return Err(LinkError::Unsupported {
                feature: "a data segment at a place that is not a constant".to_owned(),
                advice: "build the program without -fPIC",
            });
        };
        let range = u64::from(start)..u64::from(start) + segment.data.len() as u64;
        if range.end > end {
            return Err(LinkError::Malformed {
                offset: segment.range.start,
                message: "a data segment lies behind the end of the memory".to_owned(),
            });
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// What of the guest's declared memory no data segment writes: pieces (address, length) to be
/// zeroed before a further run.
///
/// Fails if a segment does not lie at a fixed place within the memory.
pub(crate) fn gaps(guest: &Module<'_>) -> Result<Vec<(u32, u32)>, LinkError> {
    let end = guest.memory.map_or(0, |m| m.initial) * super::layout::PAGE;
    let mut ranges = active_segments(guest)?;
    ranges.sort_by_key(|r| r.start);
    let mut gaps = Vec::new();
    let mut at = 0;
    for range in ranges {
        if range.start > at {
            gaps.push((at, range.start - at));
        }
        at = at.max(range.end);
    }
    if at < end {
        gaps.push((at, end - at));
    }
    if gaps.len() > MAX_GAPS {
        gaps = vec![(0, end)];
    }
    // A length of 2^32 cannot be: the library needs pages too.
    Ok(gaps
        .into_iter()
        .map(|(start, length)| (start as u32, length as u32))
        .collect())
}
