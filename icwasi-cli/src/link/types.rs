//! The output's types: the guest's, unchanged, then others as they are needed.

use wasmparser::{FuncType, ValType};

use super::encode;
use super::error::LinkError;

/// Appends types behind the guest's and finds equal ones again.
pub(crate) struct TypeTable {
    types: Vec<FuncType>,
    guest: usize,
}

impl TypeTable {
    /// Starts with the guest's types.
    pub fn new(guest: &[FuncType]) -> Self {
        TypeTable {
            types: guest.to_vec(),
            guest: guest.len(),
        }
    }

    /// Index of `ty`.
    pub fn intern(&mut self, ty: &FuncType) -> u32 {
        let found = self.types.iter().position(|t| t == ty);
        found.unwrap_or_else(|| {
            self.types.push(ty.clone());
            self.types.len() - 1
        }) as u32
    }

    /// Index of the type with these parameters and results.
    pub fn of(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        self.intern(&FuncType::new(
            params.iter().copied(),
            results.iter().copied(),
        ))
    }

    /// Number of types.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// The appended types, encoded.
    pub fn encode_appended(&self) -> Result<Vec<u8>, LinkError> {
        let mut out = Vec::new();
        for ty in &self.types[self.guest..] {
            encode::func_type(&mut out, ty).ok_or_else(|| {
                LinkError::Relocation(format!("type {} is not numeric", encode::type_name(ty)))
            })?;
        }
        Ok(out)
    }
}
