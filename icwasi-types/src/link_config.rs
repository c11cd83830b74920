use candid::CandidType;
use serde::Deserialize;

/// The table's slot in which every canister has the function that takes random bytes from the
/// management canister. Always the same one: an answer may arrive after an upgrade, and the
/// Internet Computer then calls what lies in that slot of the new code.
pub const RESEED_SLOT: u32 = 65_535;

/// Version of [`LinkConfig`]'s meaning.
pub const LINK_CONFIG_VERSION: u16 = 1;

/// What the linker was told about a canister: candid-encoded into the module, where the
/// canister library reads it once.
#[derive(Clone, Debug, Default, PartialEq, Eq, CandidType, Deserialize)]
pub struct LinkConfig {
    /// [`LINK_CONFIG_VERSION`] of the linker.
    pub version: u16,
    /// Arguments of the program, the program's name first.
    pub args: Vec<String>,
    /// Environment variables: name and value.
    pub env: Vec<(String, String)>,
    /// Most bytes that the file system may use.
    pub quota_bytes: Option<u64>,
    /// Directories that the program finds open, from descriptor 3 on. None: `/`.
    pub preopens: Vec<Preopen>,
    /// Size in bytes of a file system on the heap at [`TMP_PATH`]; `None`: there is none.
    pub tmp_bytes: Option<u64>,
}

/// Where the file system on the heap is.
pub const TMP_PATH: &str = "/tmp";

/// A directory that the program finds open.
#[derive(Clone, Debug, Default, PartialEq, Eq, CandidType, Deserialize)]
pub struct Preopen {
    /// Its absolute path, and its name for the program.
    pub path: String,
    /// Nothing can be changed through it.
    pub read_only: bool,
}

impl Preopen {
    /// The components of the path.
    ///
    /// # Errors
    /// What is wrong with it: it is not absolute, has `.`, `..`, NUL, or a component beyond 255 bytes.
    pub fn components(&self) -> Result<impl Iterator<Item = &str>, &'static str> {
        let rest = self
            .path
            .strip_prefix('/')
            .ok_or("it is not an absolute path")?;
        let components = move || rest.split('/').filter(|name| !name.is_empty());
        for name in components() {
            match name {
                "." | ".." => return Err("it holds `.` or `..`"),
                _ if name.contains('\0') => return Err("it holds a NUL"),
                _ if name.len() > 255 => return Err("a component is longer than 255 bytes"),
                _ => {}
            }
        }
        Ok(components())
    }
}
