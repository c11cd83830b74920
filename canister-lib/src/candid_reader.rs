//! Reading candid by hand, for the few types that the library takes.
//!
//! Candid's own decoder keeps types in a std `HashSet`, whose random state asks WASI's
//! `random_get`: in a program that links this library, that is this library, which may be in the
//! middle of something. It is also a third of the code of a small canister.

use core::fmt;

/// Why bytes cannot be read: what was expected, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidError {
    /// What is wrong.
    pub reason: &'static str,
    /// Where.
    pub offset: usize,
}

impl fmt::Display for CandidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

impl core::error::Error for CandidError {}

/// Codes of types.
pub const BOOL: i64 = -2;
pub const NAT16: i64 = -6;
pub const NAT64: i64 = -8;
pub const TEXT: i64 = -15;
/// The type of the elements of an empty vector that was written without knowing more.
pub const EMPTY: i64 = -17;

const MAX_DEPTH: u32 = 32;
/// Values that are skipped at most: some need no bytes, and could be without number.
const MAX_SKIPPED: u32 = 100_000;

/// Candid's hash of a field name.
pub const fn field_id(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0_u32;
    let mut index = 0;
    while index < bytes.len() {
        hash = hash.wrapping_mul(223).wrapping_add(bytes[index] as u32);
        index += 1;
    }
    hash as u64
}

/// A type that is defined in front of the values. Types are numbers: indices of these or, if
/// negative, codes.
pub enum Type {
    Opt(i64),
    Vec(i64),
    Record(Fields),
    Variant(Fields),
}

/// The type that `index` names, if it is a defined one.
pub fn lookup(types: &[Type], index: i64) -> Option<&Type> {
    types.get(usize::try_from(index).ok()?)
}

/// A place in encoded values.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    skipped: u32,
}

/// Name hashes and types, in the order of the values.
pub type Fields = Vec<(u64, i64)>;

impl<'a> Reader<'a> {
    /// Reads up to the first value, which has to be a record: the types and its fields. What
    /// follows the first value does not matter.
    ///
    /// # Errors
    /// If it is not candid of a record.
    pub fn of_record(bytes: &'a [u8]) -> Result<(Self, Vec<Type>, Fields), CandidError> {
        let mut reader = Self {
            bytes,
            at: 0,
            skipped: 0,
        };
        if reader.take(4)? != b"DIDL" {
            return Err(reader.error("not candid"));
        }
        let mut types = Vec::new();
        for _ in 0..reader.count()? {
            types.push(reader.type_definition()?);
        }
        let values = reader.count()?;
        let first = (0..values).try_fold(None, |first, _| {
            let value = reader.sleb()?;
            Ok(first.or(Some(value)))
        })?;
        match first.and_then(|first| lookup(&types, first)) {
            Some(Type::Record(fields)) => {
                let fields = fields.clone();
                Ok((reader, types, fields))
            }
            _ => Err(reader.error("a record expected")),
        }
    }

    /// An error here.
    pub fn error(&self, reason: &'static str) -> CandidError {
        CandidError {
            reason,
            offset: self.at,
        }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], CandidError> {
        let taken = self
            .at
            .checked_add(len)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or_else(|| self.error("end of data"))?;
        self.at += len;
        Ok(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, CandidError> {
        Ok(self.take(1)?[0])
    }

    fn leb(&mut self) -> Result<u64, CandidError> {
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

    fn sleb(&mut self) -> Result<i64, CandidError> {
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

    /// A `nat64`.
    pub fn nat64(&mut self) -> Result<u64, CandidError> {
        let mut number = [0; 8];
        number.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(number))
    }

    /// Whether an option has a value, which follows.
    pub fn is_some(&mut self) -> Result<bool, CandidError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("an option is neither null nor a value")),
        }
    }

    /// The length of a vector of type `index`, and the type of its elements.
    pub fn vector(&mut self, types: &[Type], index: i64) -> Result<(usize, i64), CandidError> {
        match lookup(types, index) {
            Some(&Type::Vec(element)) => Ok((self.count()?, element)),
            _ => Err(self.error("a vector expected")),
        }
    }

    /// A vector of pairs of texts.
    pub fn pairs(
        &mut self,
        types: &[Type],
        index: i64,
    ) -> Result<Vec<(String, String)>, CandidError> {
        let (length, element) = self.vector(types, index)?;
        let fits = match lookup(types, element) {
            Some(Type::Record(fields)) => fields[..] == [(0, TEXT), (1, TEXT)],
            _ => length == 0 && element == EMPTY,
        };
        if !fits {
            return Err(self.error("a vector of records { text; text } expected"));
        }
        (0..length)
            .map(|_| Ok((self.text()?, self.text()?)))
            .collect()
    }

    /// A vector of texts.
    pub fn texts(&mut self, types: &[Type], index: i64) -> Result<Vec<String>, CandidError> {
        match self.vector(types, index)? {
            (0, TEXT | EMPTY) => Ok(Vec::new()),
            (length, TEXT) => (0..length).map(|_| self.text()).collect(),
            _ => Err(self.error("a vector of texts expected")),
        }
    }

    /// A number of things that take at least one byte each.
    pub fn count(&mut self) -> Result<usize, CandidError> {
        let count = usize::try_from(self.leb()?).unwrap_or(usize::MAX);
        if count > self.bytes.len() - self.at {
            return Err(self.error("more elements than data"));
        }
        Ok(count)
    }

    fn type_definition(&mut self) -> Result<Type, CandidError> {
        match self.sleb()? {
            -18 => Ok(Type::Opt(self.sleb()?)),
            -19 => Ok(Type::Vec(self.sleb()?)),
            -20 => Ok(Type::Record(self.fields()?)),
            -21 => Ok(Type::Variant(self.fields()?)),
            _ => Err(self.error("a reference type")),
        }
    }

    fn fields(&mut self) -> Result<Fields, CandidError> {
        let count = self.count()?;
        (0..count)
            .map(|_| Ok((self.leb()?, self.sleb()?)))
            .collect()
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, CandidError> {
        let len = self.count()?;
        match core::str::from_utf8(self.take(len)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.error("text is not UTF-8")),
        }
    }
    /// Passes over a value of type `index`.
    pub fn skip(&mut self, types: &[Type], index: i64) -> Result<(), CandidError> {
        self.skip_within(types, index, 0)
    }

    fn skip_within(&mut self, types: &[Type], index: i64, depth: u32) -> Result<(), CandidError> {
        if depth == MAX_DEPTH {
            return Err(self.error("a type too deep"));
        }
        self.skipped += 1;
        if self.skipped > MAX_SKIPPED {
            return Err(self.error("too much that is not known"));
        }
        if index < 0 {
            return self.skip_primitive(index);
        }
        match lookup(types, index) {
            Some(&Type::Opt(inner)) => match self.is_some()? {
                false => Ok(()),
                true => self.skip_within(types, inner, depth + 1),
            },
            Some(&Type::Vec(inner)) => {
                for _ in 0..self.count()? {
                    self.skip_within(types, inner, depth + 1)?;
                }
                Ok(())
            }
            Some(Type::Record(fields)) => {
                for &(_, field) in fields {
                    self.skip_within(types, field, depth + 1)?;
                }
                Ok(())
            }
            Some(Type::Variant(fields)) => {
                let chosen = usize::try_from(self.leb()?).unwrap_or(usize::MAX);
                match fields.get(chosen) {
                    Some(&(_, field)) => self.skip_within(types, field, depth + 1),
                    None => Err(self.error("a variant that does not exist")),
                }
            }
            None => Err(self.error("a type that does not exist")),
        }
    }

    fn skip_primitive(&mut self, code: i64) -> Result<(), CandidError> {
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
            // A principal: not hidden, its length, its bytes.
            -24 if self.byte()? == 1 => self.count()?,
            _ => return Err(self.error("a type that cannot be skipped")),
        };
        self.take(len)?;
        Ok(())
    }
}
