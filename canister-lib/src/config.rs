//! Decoder of the candid-encoded [`LinkConfig`].
//!
//! By hand, because candid's own decoder keeps types in a std `HashSet`, whose random state
//! asks WASI's `random_get`: in a program that links this library, that is this library, which
//! may be in the middle of reading the configuration. Fields that it does not know are skipped,
//! so a newer linker can say more.

use core::fmt;

use icwasi_types::{LinkConfig, Preopen};

/// Why the configuration cannot be read: what was expected, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong.
    pub reason: &'static str,
    /// Where.
    pub offset: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

impl core::error::Error for ConfigError {}

/// Decodes what the linker stored. Nothing stored is the default.
///
/// # Errors
/// If it is not candid of a record, or a known field has another type.
pub fn decode(bytes: &[u8]) -> Result<LinkConfig, ConfigError> {
    if bytes.is_empty() {
        return Ok(LinkConfig::default());
    }
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != b"DIDL" {
        return Err(reader.error("not candid"));
    }
    let mut types = Vec::new();
    for _ in 0..reader.count()? {
        types.push(reader.type_definition()?);
    }
    if reader.leb()? != 1 {
        return Err(reader.error("one value expected"));
    }
    let record = reader.sleb()?;
    let Some(Type::Record(fields)) = lookup(&types, record) else {
        return Err(reader.error("a record expected"));
    };
    let mut config = LinkConfig::default();
    for &(id, field) in fields {
        if id == field_id("version") {
            config.version = reader.version(field)?;
        } else if id == field_id("args") {
            let Some(&Type::Vec(TEXT)) = lookup(&types, field) else {
                return Err(reader.error("args: vec text expected"));
            };
            for _ in 0..reader.count()? {
                config.args.push(reader.text()?);
            }
        } else if id == field_id("env") {
            reader.expect_pairs(&types, field)?;
            for _ in 0..reader.count()? {
                let name = reader.text()?;
                config.env.push((name, reader.text()?));
            }
        } else if id == field_id("quota_bytes") {
            config.quota_bytes = reader.opt_nat64(&types, field)?;
        } else if id == field_id("tmp_bytes") {
            config.tmp_bytes = reader.opt_nat64(&types, field)?;
        } else if id == field_id("preopens") {
            let path_first = reader.expect_preopens(&types, field)?;
            for _ in 0..reader.count()? {
                let mut preopen = Preopen::default();
                for is_path in [path_first, !path_first] {
                    if is_path {
                        preopen.path = reader.text()?;
                    } else {
                        preopen.read_only = reader.byte()? != 0;
                    }
                }
                config.preopens.push(preopen);
            }
        } else {
            reader.skip(&types, field, 0)?;
        }
    }
    Ok(config)
}

const TEXT: i64 = -15;
const BOOL: i64 = -2;
const NAT16: i64 = -6;
const NAT64: i64 = -8;
const MAX_DEPTH: u32 = 32;

/// Candid's hash of a field name.
const fn field_id(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0_u32;
    let mut index = 0;
    while index < bytes.len() {
        hash = hash.wrapping_mul(223).wrapping_add(bytes[index] as u32);
        index += 1;
    }
    hash as u64
}

enum Type {
    Opt(i64),
    Vec(i64),
    Record(Vec<(u64, i64)>),
    Variant(Vec<(u64, i64)>),
}

fn lookup(types: &[Type], index: i64) -> Option<&Type> {
    types.get(usize::try_from(index).ok()?)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, reason: &'static str) -> ConfigError {
        ConfigError {
            reason,
            offset: self.at,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ConfigError> {
        let taken = self
            .at
            .checked_add(len)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or_else(|| self.error("end of data"))?;
        self.at += len;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ConfigError> {
        Ok(self.take(1)?[0])
    }

    fn leb(&mut self) -> Result<u64, ConfigError> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("number too long"))
    }

    fn sleb(&mut self) -> Result<i64, ConfigError> {
        let mut value = 0_i64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 64 - 7 - shift;
                return Ok(value << unused >> unused);
            }
        }
        Err(self.error("number too long"))
    }

    /// A number of things that take at least one byte each.
    fn count(&mut self) -> Result<usize, ConfigError> {
        let count = usize::try_from(self.leb()?).unwrap_or(usize::MAX);
        if count > self.bytes.len() - self.at {
            return Err(self.error("more elements than data"));
        }
        Ok(count)
    }

    fn type_definition(&mut self) -> Result<Type, ConfigError> {
        match self.sleb()? {
            -18 => Ok(Type::Opt(self.sleb()?)),
            -19 => Ok(Type::Vec(self.sleb()?)),
            -20 => Ok(Type::Record(self.fields()?)),
            -21 => Ok(Type::Variant(self.fields()?)),
            _ => Err(self.error("a reference type")),
        }
    }

    fn fields(&mut self) -> Result<Vec<(u64, i64)>, ConfigError> {
        let count = self.count()?;
        (0..count)
            .map(|_| Ok((self.leb()?, self.sleb()?)))
            .collect()
    }

    fn text(&mut self) -> Result<String, ConfigError> {
        let len = self.count()?;
        match core::str::from_utf8(self.take(len)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.error("text is not UTF-8")),
        }
    }

    fn version(&mut self, field: i64) -> Result<u16, ConfigError> {
        if field != NAT16 {
            return Err(self.error("version: nat16 expected"));
        }
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn expect_pairs(&self, types: &[Type], field: i64) -> Result<(), ConfigError> {
        if let Some(&Type::Vec(element)) = lookup(types, field)
            && let Some(Type::Record(fields)) = lookup(types, element)
            && fields[..] == [(0, TEXT), (1, TEXT)]
        {
            return Ok(());
        }
        Err(self.error("env: vec record { text; text } expected"))
    }

    /// Whether the paths come first, as the hashes of the names want it.
    fn expect_preopens(&self, types: &[Type], field: i64) -> Result<bool, ConfigError> {
        let (path, flag) = ((field_id("path"), TEXT), (field_id("read_only"), BOOL));
        if let Some(&Type::Vec(element)) = lookup(types, field)
            && let Some(Type::Record(fields)) = lookup(types, element)
        {
            if fields[..] == [path, flag] {
                return Ok(true);
            }
            if fields[..] == [flag, path] {
                return Ok(false);
            }
        }
        Err(self.error("preopens: vec record { path : text; read_only : bool } expected"))
    }

    fn opt_nat64(&mut self, types: &[Type], field: i64) -> Result<Option<u64>, ConfigError> {
        let Some(&Type::Opt(NAT64)) = lookup(types, field) else {
            return Err(self.error("opt nat64 expected"));
        };
        match self.byte()? {
            0 => Ok(None),
            1 => {
                let mut number = [0; 8];
                number.copy_from_slice(self.take(8)?);
                Ok(Some(u64::from_le_bytes(number)))
            }
            _ => Err(self.error("an option is neither null nor a value")),
        }
    }

    fn skip(&mut self, types: &[Type], index: i64, depth: u32) -> Result<(), ConfigError> {
        if depth == MAX_DEPTH {
            return Err(self.error("a type too deep"));
        }
        if index < 0 {
            return self.skip_primitive(index);
        }
        match lookup(types, index) {
            Some(&Type::Opt(inner)) => match self.byte()? {
                0 => Ok(()),
                _ => self.skip(types, inner, depth + 1),
            },
            Some(&Type::Vec(inner)) => {
                for _ in 0..self.count()? {
                    self.skip(types, inner, depth + 1)?;
                }
                Ok(())
            }
            Some(Type::Record(fields)) => {
                for &(_, field) in fields {
                    self.skip(types, field, depth + 1)?;
                }
                Ok(())
            }
            Some(Type::Variant(fields)) => {
                let chosen = usize::try_from(self.leb()?).unwrap_or(usize::MAX);
                match fields.get(chosen) {
                    Some(&(_, field)) => self.skip(types, field, depth + 1),
                    None => Err(self.error("a variant that does not exist")),
                }
            }
            None => Err(self.error("a type that does not exist")),
        }
    }

    fn skip_primitive(&mut self, code: i64) -> Result<(), ConfigError> {
        let len = match code {
            -1 | -16 => 0,
            -3 | -4 => {
                while self.byte()? & 0x80 != 0 {}
                0
            }
            -2 | -5 | -9 => 1,
            -6 | -10 => 2,
            -7 | -11 | -13 => 4,
            -8 | -12 | -14 => 8,
            TEXT => self.count()?,
            _ => return Err(self.error("a type that cannot be skipped")),
        };
        self.take(len)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::{CandidType, Encode};

    fn sample() -> LinkConfig {
        LinkConfig {
            version: 1,
            args: vec!["prog".into(), "-v".into(), "ü".into()],
            env: vec![("HOME".into(), "/".into()), ("EMPTY".into(), String::new())],
            quota_bytes: Some(1 << 40),
            preopens: vec![
                Preopen {
                    path: "/data".into(),
                    read_only: false,
                },
                Preopen {
                    path: "/etc".into(),
                    read_only: true,
                },
            ],
            tmp_bytes: Some(1 << 24),
        }
    }

    #[test]
    fn reads_what_candid_writes() {
        for config in [sample(), LinkConfig::default()] {
            assert_eq!(decode(&Encode!(&config).unwrap()), Ok(config));
        }
        assert_eq!(decode(&[]), Ok(LinkConfig::default()));
    }

    #[test]
    fn skips_fields_of_a_newer_linker() {
        #[derive(CandidType)]
        enum Mode {
            Off,
            On { level: u8, name: String },
        }
        #[derive(CandidType)]
        struct Newer {
            version: u16,
            args: Vec<String>,
            env: Vec<(String, String)>,
            quota_bytes: Option<u64>,
            preopens: Vec<Preopen>,
            tmp_bytes: Option<u64>,
            sockets: Vec<(String, Option<candid::Nat>)>,
            mode: Mode,
            other: Mode,
        }
        let LinkConfig {
            version,
            args,
            env,
            quota_bytes,
            preopens,
            tmp_bytes,
        } = sample();
        let newer = Newer {
            version,
            args,
            env,
            quota_bytes,
            preopens,
            tmp_bytes,
            sockets: vec![("a".into(), Some(candid::Nat::from(1_u64 << 50)))],
            mode: Mode::On {
                level: 3,
                name: "x".into(),
            },
            other: Mode::Off,
        };
        assert_eq!(decode(&Encode!(&newer).unwrap()), Ok(sample()));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let good = Encode!(&sample()).unwrap();
        for len in 1..good.len() {
            assert!(decode(&good[..len]).is_err(), "cut to {len} bytes");
        }
        for index in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[index] = value;
                let _ = decode(&bad);
            }
        }
    }
}
