//! Commands whose canisters have the admin endpoints.

use icwasi_replica::core::UpgradeOptions;
use icwasi_types::{Info, Quota, VariableChange};

use super::*;

#[test]
fn writers_need_somebody_who_grants() {
    let options = LinkOptions {
        exec_access: ExecAccess::Writers,
        ..LinkOptions::default()
    };
    let error = link(c_program(), &options).expect_err("is refused");
    assert!(error.to_string().contains("--admin"), "{error}");
}

/// What an admin has set survives upgrades, and wins over what was linked.
#[test]
fn settings_of_admins_survive_upgrades() {
    fn set(canister: &mut Canister, method: &str, arg: Vec<u8>) {
        let outcome = canister
            .core
            .update(&canister.id, operator(), method, arg)
            .expect("is answered");
        candid::decode_one::<Result<(), AdminError>>(&outcome.reply)
            .expect("is candid")
            .expect("is done");
    }
    fn info(canister: &mut Canister) -> Info {
        let arg = candid::encode_args(()).expect("encodes");
        let outcome = canister
            .core
            .query(&canister.id, operator(), "icwasi_info", arg);
        candid::decode_one::<Result<Info, AdminError>>(&outcome.expect("is answered").reply)
            .expect("is candid")
            .expect("is allowed")
    }
    fn shown(canister: &mut Canister) -> String {
        let result = canister.request(&ExecRequest::default()).expect("runs");
        String::from_utf8(result.stdout.into_vec()).expect("is text")
    }
    with_stack(|| {
        let options = |quota| LinkOptions {
            admin: true,
            args: ["program", "args"].map(str::to_owned).into(),
            env: vec![("X".to_owned(), "linked".to_owned())],
            quota: Some(quota),
            ..LinkOptions::default()
        };
        let mut canister = Canister::new(c_program(), &options(10 << 20));
        assert_eq!(shown(&mut canister), "[program][args] X=linked PWD=none\n");
        assert_eq!(info(&mut canister).quota_bytes, Some(10 << 20));
        let change = |value: Option<&str>| VariableChange {
            name: "X".to_owned(),
            value: value.map(str::to_owned),
        };
        let env = |value| candid::encode_one(vec![change(value)]).expect("encodes");
        set(&mut canister, "icwasi_env_set", env(Some("of an admin")));
        assert_eq!(
            shown(&mut canister),
            "[program][args] X=of an admin PWD=none\n"
        );
        assert!(canister.run(&["args"]).1.contains("X=y z"), "a run's wins");
        let quota = |quota: Quota| candid::encode_one(quota).expect("encodes");
        let bytes = quota(Quota::Bytes(20 << 20));
        set(&mut canister, "icwasi_quota_set", bytes);
        let upgrade = |canister: &mut Canister, quota| {
            let linked = link(c_program(), &options(quota)).expect("links");
            let mode = InstallMode::Upgrade(UpgradeOptions::default());
            canister
                .core
                .install_code(operator(), &canister.id, mode, &linked.module, &[])
                .expect("upgraded");
        };
        upgrade(&mut canister, 11 << 20);
        assert_eq!(
            shown(&mut canister),
            "[program][args] X=of an admin PWD=none\n"
        );
        let after = info(&mut canister);
        assert_eq!(
            (after.quota_bytes, after.quota_set),
            (Some(20 << 20), Some(true))
        );
        set(&mut canister, "icwasi_env_set", env(None));
        assert_eq!(shown(&mut canister), "[program][args] X=linked PWD=none\n");
        set(&mut canister, "icwasi_quota_set", quota(Quota::Linked));
        assert_eq!(info(&mut canister).quota_bytes, Some(11 << 20));
        upgrade(&mut canister, 12 << 20);
        assert_eq!(info(&mut canister).quota_bytes, Some(12 << 20));
    });
}

/// What strangers send is refused before it is looked at, whatever is granted to others.
#[test]
fn a_refusal_costs_little() {
    with_stack(|| {
        let options = LinkOptions {
            admin: true,
            ..LinkOptions::default()
        };
        let Canister { mut core, id } = Canister::new(c_program(), &options);
        for number in 0..100_u8 {
            let grantee = Principal::self_authenticating([number; 32]);
            let arg = candid::encode_args((grantee, Role::Reader)).expect("encodes");
            core.update(&id, operator(), "icwasi_access_grant", arg)
                .expect("is answered");
        }
        let stranger = Principal::self_authenticating(b"stranger");
        let reader = Principal::self_authenticating([7_u8; 32]);
        for sender in [stranger, reader] {
            let arg = vec![b'x'; 1 << 20];
            let refused = core
                .update(&id, sender, "icwasi_upload_chunk", arg)
                .expect("is answered");
            let answer = candid::decode_one::<Result<(), AdminError>>(&refused.reply);
            assert_eq!(answer.expect("is candid"), Err(AdminError::NotAuthorized));
            let instructions = refused.stats.instructions;
            assert!(instructions < 8_000, "{instructions} instructions");
        }
    });
}
