//! Balances, and the methods of ICRC-1 on them.

use std::collections::HashMap;

use candid::{CandidType, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::account::{Account, AccountId};
use super::{Kind, decode, encode};
use crate::core::{ErrorCode, UserError};

/// Accounts that are remembered. Whoever makes more than that is told.
const MAX_ACCOUNTS: usize = 1_000_000;
/// What the bank holds, whatever it spends; fits the 64 bits of the ICP ledger.
const ENDLESS: u128 = 1 << 60;

/// The money of one token.
pub struct Ledger {
    name: &'static str,
    symbol: &'static str,
    decimals: u8,
    /// What a transfer costs.
    pub fee: u128,
    /// Its money has no end.
    bank: AccountId,
    balances: HashMap<AccountId, u128>,
    blocks: u64,
}

/// Why money does not move.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not the fee of this ledger.
    BadFee,
    /// What there is.
    InsufficientFunds(u128),
    /// Too much at once, or too many accounts.
    Full,
}

#[derive(CandidType, Deserialize)]
struct TransferArg {
    from_subaccount: Option<ByteBuf>,
    to: Account,
    amount: Nat,
    fee: Option<Nat>,
}

#[derive(CandidType)]
enum TransferError {
    BadFee { expected_fee: Nat },
    InsufficientFunds { balance: Nat },
    GenericError { error_code: Nat, message: String },
}

impl Ledger {
    /// Without money.
    pub fn new(name: &'static str, symbol: &'static str, decimals: u8, fee: u128) -> Self {
        Self {
            name,
            symbol,
            decimals,
            fee,
            bank: AccountId::bank(),
            balances: HashMap::new(),
            blocks: 0,
        }
    }

    /// What an account holds.
    pub fn balance(&self, account: &AccountId) -> u128 {
        if *account == self.bank {
            return ENDLESS;
        }
        self.balances.get(account).copied().unwrap_or(0)
    }

    /// Number of the next block.
    pub fn next_block(&mut self) -> u64 {
        self.blocks += 1;
        self.blocks - 1
    }

    /// Takes `amount` from an account; nothing changes if it does not hold that much.
    pub fn withdraw(&mut self, from: &AccountId, amount: u128) -> Result<(), Refusal> {
        let held = self.balance(from);
        let left = held
            .checked_sub(amount)
            .ok_or(Refusal::InsufficientFunds(held))?;
        if *from == self.bank {
            return Ok(());
        }
        if left == 0 {
            self.balances.remove(from);
        } else {
            self.balances.insert(*from, left);
        }
        Ok(())
    }

    /// Makes money.
    pub fn mint(&mut self, to: AccountId, amount: u128) -> Result<u64, Refusal> {
        if to != self.bank {
            let new = !self.balances.contains_key(&to);
            if new && self.balances.len() >= MAX_ACCOUNTS {
                return Err(Refusal::Full);
            }
            let held = self.balance(&to);
            let sum = held.checked_add(amount).ok_or(Refusal::Full)?;
            self.balances.insert(to, sum);
        }
        Ok(self.next_block())
    }

    /// Moves money. What is sent to the anonymous principal's account is gone.
    pub fn transfer(
        &mut self,
        from: AccountId,
        to: AccountId,
        amount: u128,
        fee: Option<u128>,
    ) -> Result<u64, Refusal> {
        if from != self.bank && fee.is_some_and(|fee| fee != self.fee) {
            return Err(Refusal::BadFee);
        }
        let new = to != self.bank && !self.balances.contains_key(&to);
        if new && self.balances.len() >= MAX_ACCOUNTS {
            return Err(Refusal::Full);
        }
        let total = amount.checked_add(self.fee).ok_or(Refusal::Full)?;
        self.balance(&to).checked_add(amount).ok_or(Refusal::Full)?;
        self.withdraw(&from, total)?;
        if to != self.bank {
            // Read again: it may be the account that has just paid.
            let held = self.balance(&to);
            self.balances.insert(to, held.saturating_add(amount));
        }
        Ok(self.next_block())
    }

    /// A method of ICRC-1; `None` if it is not one that is served.
    pub fn icrc1(
        &mut self,
        kind: Kind,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<Option<Vec<u8>>, UserError> {
        match method {
            "icrc1_balance_of" => {
                let account = AccountId::try_from(&decode::<Account>(arg)?)?;
                encode((Nat::from(self.balance(&account)),))
            }
            "icrc1_fee" => encode((Nat::from(self.fee),)),
            "icrc1_decimals" => encode((self.decimals,)),
            "icrc1_symbol" => encode((self.symbol,)),
            "icrc1_name" => encode((self.name,)),
            "icrc1_transfer" if kind == Kind::Update => {
                let arg: TransferArg = decode(arg)?;
                let from = AccountId::of(&sender, arg.from_subaccount.as_ref().map(|s| &s[..]))?;
                let to = AccountId::try_from(&arg.to)?;
                let amount = amount(&arg.amount)?;
                let fee = arg.fee.as_ref().map(self::amount).transpose()?;
                let result =
                    self.transfer(from, to, amount, fee)
                        .map(Nat::from)
                        .map_err(|refusal| match refusal {
                            Refusal::BadFee => TransferError::BadFee {
                                expected_fee: self.fee.into(),
                            },
                            Refusal::InsufficientFunds(balance) => {
                                TransferError::InsufficientFunds {
                                    balance: balance.into(),
                                }
                            }
                            Refusal::Full => TransferError::GenericError {
                                error_code: 1u8.into(),
                                message: "the ledger is full".into(),
                            },
                        });
                encode((result_of(result),))
            }
            _ => Ok(None),
        }
    }
}

/// candid's `variant { Ok; Err }`.
#[derive(CandidType)]
pub enum Reply<T, E> {
    /// Done.
    Ok(T),
    /// Not done.
    Err(E),
}

/// The same as a candid variant.
pub fn result_of<T, E>(result: Result<T, E>) -> Reply<T, E> {
    match result {
        Ok(value) => Reply::Ok(value),
        Err(error) => Reply::Err(error),
    }
}

/// An amount that has to fit.
pub fn amount(value: &Nat) -> Result<u128, UserError> {
    u128::try_from(&value.0).map_err(|_| {
        UserError::new(
            ErrorCode::CanisterCalledTrap,
            "the amount is larger than 2^128 - 1",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_moves_and_only_the_bank_makes_it() {
        let mut ledger = Ledger::new("Test", "T", 8, 10);
        let someone = Principal::from_slice(&[1, 2, 3]);
        let bank = AccountId::bank();
        let (a, b) = (
            AccountId::of(&someone, None).unwrap(),
            AccountId::of(&someone, Some(&[7; 32])).unwrap(),
        );
        assert_eq!(
            ledger.transfer(a, b, 1, None),
            Err(Refusal::InsufficientFunds(0))
        );
        assert_eq!(ledger.transfer(bank, a, 1_000, None), Ok(0));
        assert_eq!(ledger.transfer(a, b, 100, Some(9)), Err(Refusal::BadFee));
        assert_eq!(ledger.transfer(a, b, 100, Some(10)), Ok(1));
        assert_eq!((ledger.balance(&a), ledger.balance(&b)), (890, 100));
        // To itself: only the fee is gone.
        assert_eq!(ledger.transfer(a, a, 880, None), Ok(2));
        assert_eq!(ledger.balance(&a), 880);
        assert_eq!(
            ledger.transfer(bank, a, u128::MAX - 5, None),
            Err(Refusal::Full)
        );
        assert_eq!(
            ledger.transfer(bank, a, ENDLESS + 1, None),
            Err(Refusal::InsufficientFunds(ENDLESS))
        );
        assert_eq!(ledger.balance(&a), 880);
    }
}
