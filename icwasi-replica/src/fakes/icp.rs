//! The ICP ledger.

use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::account::AccountId;
use super::ledger::{Ledger, Refusal, result_of};
use super::{Kind, decode, encode};
use crate::core::UserError;

#[derive(CandidType, Deserialize)]
struct Tokens {
    e8s: u64,
}

#[derive(CandidType, Deserialize)]
struct TransferArgs {
    amount: Tokens,
    fee: Tokens,
    from_subaccount: Option<ByteBuf>,
    to: ByteBuf,
}

#[derive(CandidType)]
enum TransferError {
    BadFee { expected_fee: Tokens },
    InsufficientFunds { balance: Tokens },
}

#[derive(CandidType, Deserialize)]
struct BalanceArgs {
    account: ByteBuf,
}

fn tokens(amount: u128) -> Tokens {
    Tokens {
        e8s: u64::try_from(amount).unwrap_or(u64::MAX),
    }
}

pub fn call(
    ledger: &mut Ledger,
    kind: Kind,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Option<Vec<u8>>, UserError> {
    match method {
        "account_balance" => {
            let account = AccountId::parse(&decode::<BalanceArgs>(arg)?.account)?;
            encode((tokens(ledger.balance(&account)),))
        }
        "transfer" if kind == Kind::Update => {
            let arg: TransferArgs = decode(arg)?;
            let from = AccountId::of(&sender, arg.from_subaccount.as_ref().map(|s| &s[..]))?;
            let to = AccountId::parse(&arg.to)?;
            let (amount, fee) = (arg.amount.e8s.into(), arg.fee.e8s.into());
            let result = ledger
                .transfer(from, to, amount, Some(fee))
                .map_err(|refusal| match refusal {
                    Refusal::BadFee => TransferError::BadFee {
                        expected_fee: tokens(ledger.fee),
                    },
                    Refusal::InsufficientFunds(balance) => TransferError::InsufficientFunds {
                        balance: tokens(balance),
                    },
                    Refusal::Full => TransferError::InsufficientFunds { balance: tokens(0) },
                });
            encode((result_of(result),))
        }
        _ => ledger.icrc1(kind, sender, method, arg),
    }
}
