//! The management canister, through ic-agent.

mod by_canister;
mod proxy;
mod rates;
mod settings;
mod snapshots;

use crate::support::*;
use candid::{Decode, Nat, Principal};
use ic_agent::Agent;
use ic_management_canister_types as types;
use ic_utils::call::AsyncCall;
use ic_utils::interfaces::ManagementCanister;
use sha2::{Digest, Sha256};

/// The counter, padded with a custom section to `bytes` that don't compress.
fn large_counter(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let noise: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect();
    let mut wasm = counter();
    wasm.extend(custom_section("noise", &noise));
    wasm
}

/// `canister_status`, as an update.
pub async fn status(agent: &Agent, id: Principal) -> types::CanisterStatusResult {
    let arg = types::CanisterIdRecord { canister_id: id };
    let reply = manage(agent, id, "canister_status", &arg)
        .await
        .expect("own status");
    Decode!(&reply, types::CanisterStatusResult).expect("the type of the method")
}

#[tokio::test]
async fn a_large_module_goes_through_the_chunk_store() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    assert_eq!(inc(&owner, id).await, 1);
    let wasm = large_counter(5 << 20);

    let mut hashes = Vec::new();
    for chunk in wasm.chunks(1 << 20) {
        let arg = types::UploadChunkArgs {
            canister_id: id,
            chunk: chunk.to_vec(),
        };
        let reply = manage(&owner, id, "upload_chunk", &arg)
            .await
            .expect("stored");
        let hash = Decode!(&reply, types::ChunkHash).expect("a hash");
        assert_eq!(hash.hash, Sha256::digest(chunk).to_vec());
        hashes.push(hash);
    }
    let arg = types::CanisterIdRecord { canister_id: id };
    let reply = manage(&owner, id, "stored_chunks", &arg)
        .await
        .expect("listed");
    assert_eq!(
        Decode!(&reply, Vec<types::ChunkHash>)
            .expect("hashes")
            .len(),
        hashes.len()
    );

    let mut install = types::InstallChunkedCodeArgs {
        mode: types::CanisterInstallMode::Upgrade(None),
        target_canister: id,
        store_canister: None,
        chunk_hashes_list: hashes,
        wasm_module_hash: vec![7; 32],
        arg: vec![],
        sender_canister_version: None,
    };
    let wrong = manage(&owner, id, "install_chunked_code", &install).await;
    assert!(
        wrong
            .expect_err("wrong hash")
            .to_string()
            .contains("does not match")
    );
    install.wasm_module_hash = Sha256::digest(&wasm).to_vec();
    manage(&owner, id, "install_chunked_code", &install)
        .await
        .expect("installs");
    let hash = owner
        .read_state_canister_module_hash(id)
        .await
        .expect("hash");
    assert_eq!(hash, install.wasm_module_hash);
    assert_eq!(
        inc(&owner, id).await,
        2,
        "stable memory survived the upgrade"
    );

    manage(&owner, id, "clear_chunk_store", &arg)
        .await
        .expect("cleared");
    let missing = manage(&owner, id, "install_chunked_code", &install).await;
    assert!(
        missing
            .expect_err("no chunks")
            .to_string()
            .contains("was not found")
    );
    let too_large = types::UploadChunkArgs {
        canister_id: id,
        chunk: vec![0; (1 << 20) + 1],
    };
    assert!(
        manage(&owner, id, "upload_chunk", &too_large)
            .await
            .is_err()
    );
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn ic_utils_installs_large_modules_by_itself() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let management = ManagementCanister::create(&owner);
    let (id,) = management
        .create_canister()
        .as_provisional_create_with_amount(Some(5_000_000_000_000))
        .call_and_wait()
        .await
        .expect("creates");
    let wasm = large_counter(3 << 20);
    management
        .install(&id, &wasm)
        .call_and_wait()
        .await
        .expect("installs in chunks");
    assert_eq!(inc(&owner, id).await, 1);
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn stopped_canisters_take_nothing_and_deleted_ones_are_gone() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    let management = ManagementCanister::create(&owner);
    assert!(
        management
            .delete_canister(&id)
            .call_and_wait()
            .await
            .is_err(),
        "it runs"
    );
    management
        .stop_canister(&id)
        .call_and_wait()
        .await
        .expect("stops");
    let refused = owner.update(&id, "inc").with_arg([]).call_and_wait().await;
    assert!(refused.expect_err("stopped").to_string().contains("IC0508"));
    management
        .start_canister(&id)
        .call_and_wait()
        .await
        .expect("starts");
    assert_eq!(inc(&owner, id).await, 1);
    management
        .uninstall_code(&id)
        .call_and_wait()
        .await
        .expect("uninstalls");
    let refused = owner.update(&id, "inc").with_arg([]).call_and_wait().await;
    assert!(refused.expect_err("no code").to_string().contains("IC0537"));
    management
        .stop_canister(&id)
        .call_and_wait()
        .await
        .expect("stops");
    management
        .delete_canister(&id)
        .call_and_wait()
        .await
        .expect("deletes");
    let refused = owner.update(&id, "inc").with_arg([]).call_and_wait().await;
    assert!(refused.expect_err("gone").to_string().contains("IC0301"));
    let next = install(&owner, &counter()).await;
    assert_ne!(next, id, "ids are not given out twice");
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn provisional_creation_and_top_up() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let management = ManagementCanister::create(&owner);
    let wanted = Principal::from_text("ryjl3-tyaaa-aaaaa-aaaba-cai").expect("a principal");
    let create = || {
        management
            .create_canister()
            .as_provisional_create_with_specified_id(wanted)
            .with_effective_canister_id(wanted)
            .call_and_wait()
    };
    assert_eq!(create().await.expect("free id").0, wanted);
    assert!(create().await.is_err(), "taken id");
    let before = status(&owner, wanted).await.cycles;
    let top_up = types::ProvisionalTopUpCanisterArgs {
        canister_id: wanted,
        amount: Nat::from(500u32),
    };
    manage(&owner, wanted, "provisional_top_up_canister", &top_up)
        .await
        .expect("tops up");
    assert!(status(&owner, wanted).await.cycles >= before.clone() + Nat::from(400u32));

    for method in [
        "create_canister",
        "raw_rand",
        "deposit_cycles",
        "sign_with_ecdsa",
        "nonsense",
    ] {
        let arg = types::CanisterIdRecord {
            canister_id: wanted,
        };
        let refused = manage(&owner, wanted, method, &arg)
            .await
            .expect_err(method);
        assert!(refused.to_string().contains(method), "{method}: {refused}");
    }
    replica.stop().await.expect("stops");
}

#[tokio::test]
async fn certified_data_reaches_queries_with_a_valid_certificate() {
    let replica = replica().await;
    let owner = agent(&replica.url(), identity(1)).await;
    let id = install(&owner, &counter()).await;
    owner
        .update(&id, "set_cert")
        .with_arg([9u8; 32])
        .call_and_wait()
        .await
        .expect("certifies");
    let bytes = owner
        .query(&id, "cert")
        .with_arg([])
        .call()
        .await
        .expect("a certificate");
    let certificate: ic_certification::Certificate =
        serde_cbor::from_slice(&bytes).expect("a certificate");
    owner
        .verify(&certificate, id)
        .expect("it verifies under the root key");
    let path: [&[u8]; 3] = [b"canister", id.as_slice(), b"certified_data"];
    let found = certificate.tree.lookup_path(path);
    assert_eq!(found, ic_certification::LookupResult::Found(&[9u8; 32]));
    replica.stop().await.expect("stops");
}
