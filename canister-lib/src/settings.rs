//! What admins have set for this canister: environment variables, the quota, who has which role.
//!
//! It survives upgrades in the file `settings` of the hidden directory:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `icwasiC1`; the digit is the version |
//! | 8 | 4 | length of all, in bytes; what follows in the file is old |
//! | 12 | 4 | 1 if the quota in the superblock was set by an admin, else 0 |
//! | 16 | 4 | number of variables |
//! | 20 | 4 | number of grants |
//! | 24 | | variables: length of the name (4), of the value (4), name, value |
//! | | 32 each | grants: role 1 to 3, length of the principal, principal padded with 0 to 30 bytes; by principal |
//!
//! Integers are little-endian.

use candid::Principal;
use ic_stable_structures::Memory;
use icwasi_types::Role;
use icwasi_types::limits::{
    MAX_GRANTS, MAX_VARIABLE_BYTES, MAX_VARIABLE_NAME, MAX_VARIABLE_VALUE, MAX_VARIABLES,
};

use crate::fs::{Fs, FsError};

const FILE: &[u8] = b"settings";
const MAGIC: &[u8; 7] = b"icwasiC";
const VERSION: u8 = b'1';
const HEADER: usize = 24;
const GRANT: usize = 32;
/// Longer than the longest that can be set.
const MAX_LEN: u64 = (HEADER + MAX_VARIABLES * 8 + MAX_VARIABLE_BYTES + MAX_GRANTS * GRANT) as u64;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The quota in the superblock was set by an admin: the link configuration's does not apply.
    pub quota_set: bool,
    /// Names and values, by name.
    env: Vec<(String, String)>,
    /// By principal.
    grants: Vec<(Principal, Role)>,
    /// The file could not be read: the settings are none.
    problem: Option<Problem>,
}

/// Why settings cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A newer version of the library wrote them.
    Newer,
    /// They are damaged.
    Damaged(&'static str),
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Newer => f.write_str("a newer version of icwasi wrote the admins' settings"),
            Self::Damaged(what) => write!(f, "the admins' settings are damaged: {what}"),
        }
    }
}

impl Settings {
    /// No settings.
    pub const fn new() -> Self {
        Self {
            quota_set: false,
            env: Vec::new(),
            grants: Vec::new(),
            problem: None,
        }
    }

    /// Reads the settings. If that is impossible, nothing counts as set: no role is granted to
    /// anybody. [`Self::problem`] tells.
    pub fn load<M: Memory>(fs: &mut Fs<M>) -> Self {
        match Self::read(fs) {
            Ok(settings) => settings,
            Err(problem) => Self {
                problem: Some(problem),
                ..Self::new()
            },
        }
    }

    fn read<M: Memory>(fs: &mut Fs<M>) -> Result<Self, Problem> {
        let unreadable = |_| Problem::Damaged("unreadable");
        let dir = fs.system_dir();
        let ino = match fs.lookup(dir, FILE) {
            Err(FsError::NotFound) => return Ok(Self::new()),
            found => found.map_err(unreadable)?,
        };
        let len = fs.stat(ino).map_err(unreadable)?.size.min(MAX_LEN);
        let mut bytes = vec![0; len as usize];
        let read = fs.read(ino, 0, &mut bytes).map_err(unreadable)?;
        Self::decode(&bytes[..read])
    }

    /// Why the settings could not be read, if so.
    pub fn problem(&self) -> Option<Problem> {
        self.problem
    }

    /// The environment variables, by name.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// What was granted, by principal.
    pub fn grants(&self) -> &[(Principal, Role)] {
        &self.grants
    }

    /// The role that was granted to `principal`.
    pub fn role(&self, principal: &Principal) -> Option<Role> {
        let found = self.grants.binary_search_by_key(&principal, |(p, _)| p);
        found.ok().map(|index| self.grants[index].1)
    }

    /// Sets a variable, or removes it.
    ///
    /// # Errors
    /// What is wrong with it; nothing was changed.
    pub fn set_variable(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let at = self.env.binary_search_by_key(&name, |(n, _)| n);
        let Some(value) = value else {
            if let Ok(at) = at {
                self.env.remove(at);
            }
            return Ok(());
        };
        if name.is_empty() || name.len() > MAX_VARIABLE_NAME || name.contains(['=', '\0']) {
            return Err(format!(
                "the name of an environment variable is 1 to {MAX_VARIABLE_NAME} bytes without `=` and NUL"
            ));
        }
        if value.len() > MAX_VARIABLE_VALUE || value.contains('\0') {
            return Err(format!(
                "{name}: the value of an environment variable is at most {MAX_VARIABLE_VALUE} bytes, without NUL"
            ));
        }
        match at {
            Ok(at) => self.env[at].1 = value.to_owned(),
            Err(at) => self.env.insert(at, (name.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    /// Grants a role, in place of the one that `principal` had, or takes it away. Returns the one
    /// that it had.
    pub fn set_role(&mut self, principal: Principal, role: Option<Role>) -> Option<Role> {
        match (
            self.grants.binary_search_by_key(&principal, |(p, _)| *p),
            role,
        ) {
            (Ok(at), Some(role)) => Some(core::mem::replace(&mut self.grants[at].1, role)),
            (Ok(at), None) => Some(self.grants.remove(at).1),
            (Err(at), Some(role)) => {
                self.grants.insert(at, (principal, role));
                None
            }
            (Err(_), None) => None,
        }
    }

    /// Whether there is too much of something: what, in words.
    pub fn excess(&self) -> Option<String> {
        let bytes: usize = self.env.iter().map(|(n, v)| n.len() + v.len()).sum();
        if self.env.len() > MAX_VARIABLES || bytes > MAX_VARIABLE_BYTES {
            return Some(format!(
                "at most {MAX_VARIABLES} environment variables of {MAX_VARIABLE_BYTES} bytes together can be set, \
                 these would be {} of {bytes}",
                self.env.len()
            ));
        }
        (self.grants.len() > MAX_GRANTS)
            .then(|| format!("at most {MAX_GRANTS} principals can have roles"))
    }

    /// Stores the settings. Those that were damaged are replaced.
    ///
    /// # Errors
    /// Of the file system, and `Corrupt` where a newer version wrote them; nothing was changed.
    pub fn save<M: Memory>(&mut self, fs: &mut Fs<M>) -> Result<(), FsError> {
        if self.problem == Some(Problem::Newer) {
            return Err(FsError::Corrupt("settings of a newer version of icwasi"));
        }
        let bytes = self.encode();
        let dir = fs.system_dir();
        match fs.lookup(dir, FILE) {
            Ok(ino) => fs.write(ino, 0, &bytes).map(|_| ())?,
            Err(FsError::NotFound) => {
                let ino = fs.create(dir, FILE)?;
                if let Err(error) = fs.write(ino, 0, &bytes) {
                    fs.unlink(dir, FILE).expect("made by this message");
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        self.problem = None;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..7].copy_from_slice(MAGIC);
        bytes[7] = VERSION;
        // The limits keep all of these small.
        let word = |value: usize| (value as u32).to_le_bytes();
        bytes[12..16].copy_from_slice(&word(self.quota_set.into()));
        bytes[16..20].copy_from_slice(&word(self.env.len()));
        bytes[20..24].copy_from_slice(&word(self.grants.len()));
        for (name, value) in &self.env {
            bytes.extend_from_slice(&word(name.len()));
            bytes.extend_from_slice(&word(value.len()));
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        for (principal, role) in &self.grants {
            let principal = principal.as_slice();
            let mut grant = [0; GRANT];
            grant[0] = *role as u8 + 1;
            grant[1] = principal.len() as u8;
            grant[2..2 + principal.len()].copy_from_slice(principal);
            bytes.extend_from_slice(&grant);
        }
        let len = word(bytes.len());
        bytes[8..12].copy_from_slice(&len);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        let mut reader = Reader(bytes);
        let magic = reader.take(8)?;
        match magic[7] {
            _ if &magic[..7] != MAGIC => return Err(Problem::Damaged("no magic")),
            VERSION => {}
            b'2'..=b'9' => return Err(Problem::Newer),
            _ => return Err(Problem::Damaged("version")),
        }
        let len = reader.word()?;
        reader.0 = len
            .checked_sub(12)
            .and_then(|rest| reader.0.get(..rest))
            .ok_or(Problem::Damaged("length"))?;
        let mut settings = Self::new();
        settings.quota_set = reader.word()? != 0;
        let (variables, grants) = (reader.word()?, reader.word()?);
        for _ in 0..variables {
            let (name, value) = (reader.word()?, reader.word()?);
            let (name, value) = (reader.text(name)?, reader.text(value)?);
            let set = settings.set_variable(name, Some(value));
            set.map_err(|_| Problem::Damaged("a variable"))?;
        }
        for _ in 0..grants {
            let grant = reader.take(GRANT)?;
            let role = match grant[0] {
                1 => Role::Reader,
                2 => Role::Writer,
                3 => Role::Admin,
                _ => return Err(Problem::Damaged("a role")),
            };
            let principal = grant[2..].get(..grant[1].into());
            let principal = principal.and_then(|bytes| Principal::try_from_slice(bytes).ok());
            settings.set_role(
                principal.ok_or(Problem::Damaged("a principal"))?,
                Some(role),
            );
        }
        match settings.excess() {
            None => Ok(settings),
            Some(_) => Err(Problem::Damaged("too many")),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(Problem::Damaged("end of data"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<usize, Problem> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, Problem> {
        core::str::from_utf8(self.take(len)?).map_err(|_| Problem::Damaged("text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FormatOptions;
    use ic_stable_structures::VectorMemory;

    fn sample() -> Settings {
        let mut settings = Settings::new();
        settings.quota_set = true;
        settings.set_variable("LANG", Some("de_ÄÖ")).expect("valid");
        settings.set_variable("EMPTY", Some("")).expect("valid");
        for (number, role) in [(9, Role::Reader), (3, Role::Admin), (5, Role::Writer)] {
            let principal = Principal::self_authenticating([number; 32]);
            assert_eq!(settings.set_role(principal, Some(role)), None);
        }
        settings.set_role(Principal::from_slice(&[1]), Some(Role::Reader));
        settings
    }

    fn formatted() -> Fs<VectorMemory> {
        Fs::open(VectorMemory::default(), &FormatOptions::default(), 1).expect("formats")
    }

    #[test]
    fn what_is_saved_is_loaded_also_after_it_became_shorter() {
        let mut fs = formatted();
        assert_eq!(Settings::load(&mut fs), Settings::new());
        let mut settings = sample();
        settings.save(&mut fs).expect("saved");
        assert_eq!(Settings::load(&mut fs), settings);
        let admin = Principal::self_authenticating([3; 32]);
        assert_eq!(settings.role(&admin), Some(Role::Admin));
        assert_eq!(settings.set_role(admin, None), Some(Role::Admin));
        settings.set_variable("LANG", None).expect("valid");
        settings.save(&mut fs).expect("saved");
        let loaded = Settings::load(&mut fs);
        assert_eq!((loaded.role(&admin), loaded.env().len()), (None, 1));
        assert_eq!(loaded, settings);
    }

    #[test]
    fn damage_grants_nothing_and_never_panics() {
        let good = sample().encode();
        for len in 0..good.len() {
            assert!(Settings::decode(&good[..len]).is_err(), "cut to {len}");
        }
        for index in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[index] = value;
                let _ = Settings::decode(&bad);
            }
        }
        let mut fs = formatted();
        let dir = fs.system_dir();
        let file = fs.create(dir, FILE).expect("made");
        let mut newer = good.clone();
        newer[7] = b'2';
        fs.write(file, 0, &newer).expect("written");
        let mut settings = Settings::load(&mut fs);
        assert_eq!(settings.problem(), Some(Problem::Newer));
        assert_eq!(settings.grants(), []);
        // Not overwritten, unlike damage.
        assert!(settings.save(&mut fs).is_err());
        fs.write(file, 0, &[0; 200]).expect("written");
        let settings = Settings::load(&mut fs);
        assert!(matches!(settings.problem(), Some(Problem::Damaged(_))));
        sample().save(&mut fs).expect("saved");
        assert_eq!(Settings::load(&mut fs), sample());
    }

    #[test]
    fn limits() {
        let mut settings = Settings::new();
        for (name, value) in [
            ("", "x".into()),
            ("A=B", "x".into()),
            ("A\0", "x".into()),
            ("A", "x\0".into()),
            (&"n".repeat(MAX_VARIABLE_NAME + 1)[..], "x".into()),
            ("A", "x".repeat(MAX_VARIABLE_VALUE + 1)),
        ] {
            assert!(settings.set_variable(name, Some(&value)).is_err());
        }
        assert_eq!(settings, Settings::new());
        for number in 0..MAX_VARIABLES {
            assert_eq!(settings.excess(), None);
            settings
                .set_variable(&format!("V{number}"), Some("x"))
                .expect("valid");
        }
        assert_eq!(settings.excess(), None);
        settings.set_variable("more", Some("x")).expect("valid");
        assert!(settings.excess().is_some());
    }
}
