//! Who owns money: principals with subaccounts, and the account identifiers that follow from them.

use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha224};

use crate::core::{ErrorCode, UserError};

/// An account as ICRC-1 writes it.
#[derive(CandidType, Deserialize)]
pub struct Account {
    owner: Principal,
    subaccount: Option<ByteBuf>,
}

/// 4 bytes of CRC-32 and 28 bytes of SHA-224.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId([u8; 32]);

fn invalid(what: &str) -> UserError {
    UserError::new(ErrorCode::CanisterCalledTrap, what)
}

impl AccountId {
    /// The account of `owner`; without `subaccount`, the one with 32 zeros.
    pub fn of(owner: &Principal, subaccount: Option<&[u8]>) -> Result<Self, UserError> {
        let subaccount = match subaccount {
            Some(bytes) => bytes
                .try_into()
                .map_err(|_| invalid("a subaccount has 32 bytes"))?,
            None => [0; 32],
        };
        Ok(Self::derive(owner, &subaccount))
    }

    /// The account of the anonymous principal, from which the money of a local network comes.
    pub fn bank() -> Self {
        Self::derive(&Principal::anonymous(), &[0; 32])
    }

    fn derive(owner: &Principal, subaccount: &[u8; 32]) -> Self {
        let hash = Sha224::new()
            .chain_update(b"\x0Aaccount-id")
            .chain_update(owner.as_slice())
            .chain_update(subaccount)
            .finalize();
        let mut crc = flate2::Crc::new();
        crc.update(&hash);
        let mut id = [0; 32];
        id[..4].copy_from_slice(&crc.sum().to_be_bytes());
        id[4..].copy_from_slice(&hash);
        Self(id)
    }

    /// Checks length and checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, UserError> {
        let id: [u8; 32] = bytes
            .try_into()
            .map_err(|_| invalid("an account identifier has 32 bytes"))?;
        let mut crc = flate2::Crc::new();
        crc.update(&id[4..]);
        if crc.sum().to_be_bytes() != id[..4] {
            return Err(invalid("the account identifier's checksum is wrong"));
        }
        Ok(Self(id))
    }
}

impl TryFrom<&Account> for AccountId {
    type Error = UserError;

    fn try_from(account: &Account) -> Result<Self, UserError> {
        Self::of(&account.owner, account.subaccount.as_ref().map(|s| &s[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_identifiers_are_those_of_the_ledger() {
        // The anonymous principal's account, as wallets show it.
        let id = AccountId::of(&Principal::anonymous(), None).unwrap();
        assert_eq!(id, AccountId::bank());
        assert_eq!(
            hex::encode(id.0),
            "1c7a48ba6a562aa9eaa2481a9049cdf0433b9738c992d698c31d8abf89cadc79"
        );
        assert_eq!(AccountId::parse(&id.0).unwrap(), id);
        let mut wrong = id.0;
        wrong[31] ^= 1;
        assert!(AccountId::parse(&wrong).is_err());
        assert!(AccountId::of(&Principal::anonymous(), Some(&[1; 31])).is_err());
    }
}
