//! What client tools expect of a network besides canisters: ledgers, a place to create canisters,
//! and as much stack as on the IC.

use candid::{CandidType, Nat, Principal, decode_one, encode_args, encode_one};
use ic_agent::Agent;
use serde::Deserialize;

use crate::support::{agent, anonymous, identity, install, replica};

const CYCLES_LEDGER: &str = "um5iw-rqaaa-aaaaq-qaaba-cai";

#[derive(CandidType)]
struct Account {
    owner: Principal,
    subaccount: Option<Vec<u8>>,
}

#[derive(CandidType)]
struct Transfer {
    to: Account,
    amount: Nat,
}

#[derive(CandidType)]
struct Create {
    from_subaccount: Option<Vec<u8>>,
    amount: Nat,
}

#[derive(CandidType, Deserialize, Debug)]
struct Created {
    canister_id: Principal,
}

#[derive(CandidType, Deserialize, Debug)]
enum CreateError {
    InsufficientFunds { balance: Nat },
}

fn ledger() -> Principal {
    Principal::from_text(CYCLES_LEDGER).expect("a constant")
}

async fn balance(agent: &Agent) -> Nat {
    let account = Account {
        owner: agent.get_principal().expect("a key"),
        subaccount: None,
    };
    let reply = agent
        .query(&ledger(), "icrc1_balance_of")
        .with_arg(encode_one(account).expect("candid"))
        .await
        .expect("a signed reply");
    decode_one(&reply).expect("a number")
}

async fn create(agent: &Agent, amount: u64) -> Result<Created, CreateError> {
    let arg = Create {
        from_subaccount: None,
        amount: amount.into(),
    };
    let reply = agent
        .update(&ledger(), "create_canister")
        .with_arg(encode_one(arg).expect("candid"))
        .await
        .expect("a certified reply");
    decode_one(&reply).expect("Ok or Err")
}

#[tokio::test(flavor = "multi_thread")]
async fn cycles_pay_for_a_canister() {
    const TRILLION: u64 = 1_000_000_000_000;
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let before = create(&owner, 2 * TRILLION).await;
    assert!(
        matches!(&before, Err(CreateError::InsufficientFunds { balance }) if *balance == 0u8),
        "{before:?}"
    );

    let seed = Transfer {
        to: Account {
            owner: owner.get_principal().expect("a key"),
            subaccount: None,
        },
        amount: (5 * TRILLION).into(),
    };
    anonymous(&replica.url())
        .await
        .update(&ledger(), "icrc1_transfer")
        .with_arg(encode_one(seed).expect("candid"))
        .await
        .expect("transferred");
    assert_eq!(balance(&owner).await, 5 * TRILLION);

    let id = create(&owner, 2 * TRILLION)
        .await
        .expect("created")
        .canister_id;
    assert_eq!(balance(&owner).await, 3 * TRILLION - 100_000_000);
    let controllers = owner
        .read_state_canister_controllers(id)
        .await
        .expect("it exists");
    assert_eq!(controllers, [owner.get_principal().expect("a key")]);

    let unknown = owner
        .update(&ledger(), "nothing")
        .with_arg(encode_args(()).expect("candid"))
        .await
        .expect_err("no such method");
    assert!(unknown.to_string().contains("IC0536"), "{unknown}");
    let garbage = owner
        .update(&ledger(), "icrc1_transfer")
        .with_arg(vec![0xff; 100])
        .await
        .expect_err("not candid");
    assert!(garbage.to_string().contains("candid"), "{garbage}");
    replica.stop().await.expect("stops");
}

/// Recursion that needs between 1 and 5 MiB of stack runs; one that does not end traps, and the
/// replica lives on.
#[tokio::test(flavor = "multi_thread")]
async fn canisters_have_the_stack_of_the_ic() {
    let wasm = wat::parse_str(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (memory 1)
        (func $deep (param i64 i64 i64 i64) (result i64)
            (if (result i64) (i64.eqz (local.get 0))
                (then (i64.const 0))
                (else
                    (i64.add
                        (i64.mul (local.get 1) (i64.add (local.get 2) (local.get 3)))
                        (call $deep
                            (i64.sub (local.get 0) (i64.const 1))
                            (i64.add (local.get 1) (local.get 0))
                            (i64.mul (local.get 2) (local.get 0))
                            (i64.xor (local.get 3) (local.get 1)))))))
        (func (export "canister_query deep")
            (drop (call $deep (i64.const 30000) (i64.const 1) (i64.const 2) (i64.const 3)))
            (call $reply))
        (func (export "canister_query endless")
            (drop (call $deep (i64.const -1) (i64.const 1) (i64.const 2) (i64.const 3)))
            (call $reply)))"#,
    )
    .expect("valid");
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &wasm).await;
    let query = |method| owner.query(&id, method).with_arg(vec![]).call();
    query("deep").await.expect("fits in 5 MiB");
    let error = query("endless").await.expect_err("no stack is endless");
    assert!(error.to_string().contains("IC0502"), "{error}");
    query("deep").await.expect("still fits");
    replica.stop().await.expect("stops");
}
