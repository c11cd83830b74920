//! The asset canister of crate `ic-certified-assets`, which keeps its assets over upgrades.

use ic_certified_assets::StableState;
use ic_certified_assets::types::AssetCanisterArgs;

#[ic_cdk::init]
fn init(args: Option<AssetCanisterArgs>) {
    ic_certified_assets::init(args);
}

#[ic_cdk::pre_upgrade]
fn pre_upgrade() {
    let state = ic_certified_assets::pre_upgrade();
    ic_cdk::storage::stable_save((state,)).expect("stable memory has room");
}

#[ic_cdk::post_upgrade]
fn post_upgrade(args: Option<AssetCanisterArgs>) {
    let (state,): (StableState,) =
        ic_cdk::storage::stable_restore().expect("what pre_upgrade has saved");
    ic_certified_assets::post_upgrade(state, args);
}

ic_certified_assets::export_canister_methods!();
