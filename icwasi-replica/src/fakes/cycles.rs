//! The cycles ledger: ICRC-1, and canisters paid from an account.

use candid::{CandidType, Nat, Principal};
use ic_management_canister_types as types;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::account::{Account, AccountId};
use super::ledger::{Refusal, amount, result_of};
use super::{CYCLES_LEDGER, Kind, Stage, decode, encode};
use crate::core::{ErrorCode, UserError};
use crate::management;

// `subnet_selection` is not among the fields: there is one subnet.
#[derive(CandidType, Deserialize)]
struct CreationArgs {
    settings: Option<types::CanisterSettings>,
}

#[derive(CandidType, Deserialize)]
struct CreateArgs {
    from_subaccount: Option<ByteBuf>,
    amount: Nat,
    creation_args: Option<CreationArgs>,
}

#[derive(CandidType)]
struct Created {
    block_id: Nat,
    canister_id: Principal,
}

#[derive(CandidType)]
enum CreateError {
    InsufficientFunds {
        balance: Nat,
    },
    FailedToCreate {
        fee_block: Option<Nat>,
        refund_block: Option<Nat>,
        error: String,
    },
}

#[derive(CandidType, Deserialize)]
struct WithdrawArgs {
    from_subaccount: Option<ByteBuf>,
    to: Principal,
    amount: Nat,
}

#[derive(CandidType)]
enum WithdrawError {
    InsufficientFunds { balance: Nat },
    InvalidReceiver { receiver: Principal },
}

#[derive(CandidType, Deserialize)]
struct DepositArgs {
    to: Account,
}

#[derive(CandidType)]
struct Deposited {
    balance: Nat,
    block_index: Nat,
}

pub fn call(
    stage: &mut Stage<'_>,
    kind: Kind,
    sender: Principal,
    method: &str,
    arg: &[u8],
) -> Result<Option<Vec<u8>>, UserError> {
    match method {
        "create_canister" if kind == Kind::Update => {
            let result = create(stage, sender, decode(arg)?)?;
            encode((result_of(result),))
        }
        "deposit" if kind == Kind::Update => {
            let reply = deposit(stage, decode(arg)?)?;
            encode((reply,))
        }
        "withdraw" if kind == Kind::Update => {
            let result = withdraw(stage, sender, decode(arg)?)?;
            encode((result_of(result),))
        }
        _ => stage.fakes.cycles.icrc1(kind, sender, method, arg),
    }
}

fn balance_of(refusal: &Refusal) -> Nat {
    match refusal {
        Refusal::InsufficientFunds(balance) => (*balance).into(),
        Refusal::BadFee | Refusal::Full => 0u8.into(),
    }
}

fn create(
    stage: &mut Stage<'_>,
    sender: Principal,
    arg: CreateArgs,
) -> Result<Result<Created, CreateError>, UserError> {
    let from = AccountId::of(&sender, arg.from_subaccount.as_ref().map(|s| &s[..]))?;
    let cycles = amount(&arg.amount)?;
    let total = cycles.saturating_add(stage.fakes.cycles.fee);
    let balance = stage.fakes.cycles.balance(&from);
    if balance < total {
        return Ok(Err(CreateError::InsufficientFunds {
            balance: balance.into(),
        }));
    }
    let mut settings = arg
        .creation_args
        .and_then(|args| args.settings)
        .unwrap_or_default();
    settings.controllers.get_or_insert_with(|| vec![sender]);
    let created = management::create_for(
        stage.core,
        stage.management,
        CYCLES_LEDGER,
        settings,
        cycles,
    );
    Ok(match created {
        Ok(canister_id) => match stage.fakes.cycles.withdraw(&from, total) {
            Ok(()) => Ok(Created {
                block_id: stage.fakes.cycles.next_block().into(),
                canister_id,
            }),
            // Not reached: the balance was looked at above.
            Err(refusal) => Err(CreateError::InsufficientFunds {
                balance: balance_of(&refusal),
            }),
        },
        Err(error) => Err(CreateError::FailedToCreate {
            fee_block: None,
            refund_block: None,
            error: error.message,
        }),
    })
}

/// Puts the cycles that came with the call into an account. The fee is taken from them.
fn deposit(stage: &mut Stage<'_>, arg: DepositArgs) -> Result<Deposited, UserError> {
    let to = AccountId::try_from(&arg.to)?;
    let ledger = &mut stage.fakes.cycles;
    if *stage.cycles <= ledger.fee {
        return Err(UserError::new(
            ErrorCode::CanisterCalledTrap,
            format!(
                "the cycles ledger takes deposits of more than its fee of {} cycles, {} came",
                ledger.fee, stage.cycles
            ),
        ));
    }
    let amount = *stage.cycles - ledger.fee;
    let block = ledger
        .mint(to, amount)
        .map_err(|_| UserError::new(ErrorCode::CanisterCalledTrap, "the cycles ledger is full"))?;
    *stage.cycles = 0;
    Ok(Deposited {
        balance: ledger.balance(&to).into(),
        block_index: block.into(),
    })
}

fn withdraw(
    stage: &mut Stage<'_>,
    sender: Principal,
    arg: WithdrawArgs,
) -> Result<Result<Nat, WithdrawError>, UserError> {
    let from = AccountId::of(&sender, arg.from_subaccount.as_ref().map(|s| &s[..]))?;
    let cycles = amount(&arg.amount)?;
    let ledger = &mut stage.fakes.cycles;
    if stage.core.canister(&arg.to).is_none() {
        return Ok(Err(WithdrawError::InvalidReceiver { receiver: arg.to }));
    }
    if let Err(refusal) = ledger.withdraw(&from, cycles.saturating_add(ledger.fee)) {
        return Ok(Err(WithdrawError::InsufficientFunds {
            balance: balance_of(&refusal),
        }));
    }
    let block = ledger.next_block();
    if let Some(canister) = stage.core.canister_mut(&arg.to) {
        canister.cycles = canister.cycles.saturating_add(cycles);
    }
    stage.core.save(&arg.to)?;
    Ok(Ok(block.into()))
}
