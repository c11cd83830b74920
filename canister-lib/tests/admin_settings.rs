//! Quota, environment, roles and checks, as callers meet them.
#![cfg(feature = "admin")]

mod admin_common;

use std::cell::Cell;

use admin_common::*;
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal, encode_args};
use icwasi::admin::auth::Caller;
use icwasi::admin::{Call, dispatch};
use icwasi_types::limits::{MAX_GRANTS, MAX_VARIABLE_VALUE, MAX_VARIABLES};
use icwasi_types::{
    AdminError, CheckedPart, Grant, Info, Quota, Role, Upload, Variable, VariableChange, methods,
};
use serde::de::DeserializeOwned;
use serde_bytes::Bytes;

const LINKED: Option<u64> = Some(10 << 20);

thread_local! {
    static INSTRUCTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Instructions as if there were a thousand between two questions.
fn instructions() -> u64 {
    INSTRUCTIONS.replace(INSTRUCTIONS.get() + 1000)
}

/// Calls a method as `principal`.
fn call<T: CandidType + DeserializeOwned>(
    fs: &mut TestFs,
    (principal, is_controller): (Principal, bool),
    method: &str,
    args: impl ArgumentEncoder,
) -> Result<T, AdminError> {
    let call = Call {
        caller: Caller {
            principal,
            is_controller,
        },
        now: NOW,
        linked_quota: LINKED,
        instructions,
    };
    let arg = encode_args(args).expect("encodes");
    let reply = dispatch(fs, &call, method, &arg).expect("is a method");
    candid::decode_one(&reply.pieces().concat()).expect("is candid")
}

fn owner() -> (Principal, bool) {
    (Principal::self_authenticating([1; 32]), true)
}

fn other(number: u8) -> (Principal, bool) {
    (Principal::self_authenticating([number; 32]), false)
}

#[test]
fn roles_allow_what_they_say_until_they_are_revoked() {
    let mut fs = new_fs(None);
    let path = |path: &'static str| (path, false);
    for (role, allowed) in [(Role::Reader, 1), (Role::Writer, 2), (Role::Admin, 3)] {
        let somebody = other(7);
        let grant = methods::ACCESS_GRANT;
        // How many of these a caller may do: one for each role.
        let attempts = |fs: &mut TestFs, name| {
            let info = call::<Info>(fs, somebody, methods::INFO, ()).is_ok();
            let mkdir = call::<()>(fs, somebody, methods::MKDIR, path(name)).is_ok();
            let quota = (Quota::Linked,);
            let quota = call::<()>(fs, somebody, methods::QUOTA_SET, quota).is_ok();
            [info, mkdir, quota]
        };
        assert_eq!(attempts(&mut fs, "/never"), [false; 3]);
        assert_eq!(
            call::<()>(&mut fs, somebody, grant, (somebody.0, Role::Admin)),
            Err(AdminError::NotAuthorized)
        );
        assert_eq!(call(&mut fs, owner(), grant, (somebody.0, role)), Ok(()));
        let mut expected = [false; 3];
        expected[..allowed].fill(true);
        let name = ["/reader", "/writer", "/admin"][allowed - 1];
        assert_eq!(attempts(&mut fs, name), expected, "{role:?}");
        let grantee = somebody.0;
        assert_eq!(
            call(&mut fs, owner(), methods::ACCESS_LIST, ()),
            Ok(vec![Grant { grantee, role }])
        );
        let revoke = |fs: &mut TestFs| call(fs, owner(), methods::ACCESS_REVOKE, (grantee,));
        assert_eq!(revoke(&mut fs), Ok(()));
        assert_eq!(
            revoke(&mut fs),
            Err(AdminError::NotFound(grantee.to_text()))
        );
        assert_eq!(attempts(&mut fs, "/never"), [false; 3]);
    }
    for nobody in [Principal::anonymous(), Principal::management_canister()] {
        let args = (nobody, Role::Reader);
        let refused = call::<()>(&mut fs, owner(), methods::ACCESS_GRANT, args);
        assert!(matches!(refused, Err(AdminError::InvalidArgument(_))));
    }
    check(&mut fs);
}

#[test]
fn grants_are_limited_and_a_refused_one_changes_nothing() {
    let mut fs = new_fs(None);
    let principal = |n: usize| Principal::from_slice(&(n as u32 + 1).to_be_bytes());
    let grant = |fs: &mut TestFs, n, role| {
        call::<()>(fs, owner(), methods::ACCESS_GRANT, (principal(n), role))
    };
    for n in 0..MAX_GRANTS {
        grant(&mut fs, n, Role::Reader).expect("granted");
    }
    let refused = grant(&mut fs, MAX_GRANTS, Role::Reader);
    assert!(matches!(refused, Err(AdminError::InvalidArgument(_))));
    // A role that is changed takes no room.
    grant(&mut fs, 3, Role::Writer).expect("granted");
    let listed: Vec<Grant> = call(&mut fs, owner(), methods::ACCESS_LIST, ()).expect("listed");
    assert_eq!(listed.len(), MAX_GRANTS);
    assert_eq!(listed[3].role, Role::Writer);
}

#[test]
fn writers_upload_and_abort_only_what_is_theirs() {
    let mut fs = new_fs(None);
    let (one, two) = (other(1), other(2));
    for writer in [one, two] {
        let args = (writer.0, Role::Writer);
        call::<()>(&mut fs, owner(), methods::ACCESS_GRANT, args).expect("granted");
    }
    let mut request = request("/f", b"data");
    let begin = |fs: &mut TestFs, who, request: &_| {
        call::<Upload>(fs, who, methods::UPLOAD_BEGIN, (request,)).expect("begun")
    };
    let upload = begin(&mut fs, one, &request);
    let abort = |fs: &mut TestFs, who, id| call::<()>(fs, who, methods::UPLOAD_ABORT, (id,));
    assert_eq!(
        abort(&mut fs, two, upload.id),
        Err(AdminError::NotAuthorized)
    );
    assert_eq!(abort(&mut fs, one, upload.id), Ok(()));
    request.path = "/g".into();
    let upload = begin(&mut fs, one, &request);
    assert_eq!(abort(&mut fs, owner(), upload.id), Ok(()));
}

#[test]
fn an_admins_quota_wins_until_it_is_given_up() {
    let mut fs = new_fs(LINKED);
    let set = |fs: &mut TestFs, quota| call::<()>(fs, owner(), methods::QUOTA_SET, (quota,));
    let get = |fs: &mut TestFs| {
        let info: Info = call(fs, owner(), methods::INFO, ()).expect("info");
        (info.quota_bytes, info.quota_set, info.free_bytes)
    };
    let free = |fs: &TestFs| Some(fs.usage().free_bytes);
    assert_eq!(get(&mut fs), (LINKED, Some(false), free(&fs)));
    set(&mut fs, Quota::Bytes(1 << 20)).expect("set");
    assert_eq!(get(&mut fs), (Some(1 << 20), Some(true), free(&fs)));
    // Full to the last block: more can still be given, and less taken.
    let root = fs.root();
    let file = fs.create(root, b"fill").expect("made");
    while fs.usage().free_bytes > 0 {
        let size = fs.stat(file).expect("is there").size;
        fs.write(file, size, &[1; 4096]).expect("fits");
    }
    let grant = (other(9).0, Role::Reader);
    let _ = call::<()>(&mut fs, owner(), methods::ACCESS_GRANT, grant);
    for quota in [Quota::Bytes(4096), Quota::Bytes(2 << 20), Quota::Unlimited] {
        set(&mut fs, quota).expect("set");
        let bytes = match quota {
            Quota::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        assert_eq!(get(&mut fs), (bytes, Some(true), free(&fs)));
    }
    set(&mut fs, Quota::Linked).expect("set");
    assert_eq!(get(&mut fs), (LINKED, Some(false), free(&fs)));
    check(&mut fs);
}

/// The first settings need space for their file: at every fill level they are stored, or refused
/// with nothing changed.
#[test]
fn a_full_file_system_keeps_its_settings() {
    let quota = 40 * 4096;
    let mut stored = [0, 0];
    for fill in 0..40 {
        let mut fs = new_fs(Some(quota));
        let root = fs.root();
        let file = fs.create(root, b"fill").expect("made");
        let _ = fs.write(file, 0, &vec![1; fill * 4096]);
        let used = fs.usage();
        let grant = (other(9).0, Role::Reader);
        let granted = call::<()>(&mut fs, owner(), methods::ACCESS_GRANT, grant);
        stored[usize::from(granted.is_ok())] += 1;
        if let Err(error) = granted {
            assert!(matches!(error, AdminError::NoSpace { .. }), "{error:?}");
            let now = fs.usage();
            assert_eq!(now.inodes, used.inodes);
            // The hidden directory may have got its first page.
            assert!(now.used_bytes - used.used_bytes <= 4096);
        }
        let set = (Quota::Bytes(2 * quota),);
        call::<()>(&mut fs, owner(), methods::QUOTA_SET, set).expect("set");
        check(&mut fs);
    }
    assert!(stored[0] > 0 && stored[1] > 0, "{stored:?}");
}

#[test]
fn variables_are_set_together_or_not_at_all() {
    let mut fs = new_fs(None);
    let change = |name: &str, value: Option<&str>| VariableChange {
        name: name.into(),
        value: value.map(Into::into),
    };
    let set = |fs: &mut TestFs, changes: &[VariableChange]| {
        call::<()>(fs, owner(), methods::ENV_SET, (changes,))
    };
    let list = |fs: &mut TestFs| -> Vec<(String, String)> {
        let listed: Vec<Variable> = call(fs, owner(), methods::ENV_LIST, ()).expect("listed");
        listed.into_iter().map(|v| (v.name, v.value)).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    set(&mut fs, &[change("B", Some("2")), change("A", Some(""))]).expect("set");
    assert_eq!(list(&mut fs), [pair("A", ""), pair("B", "2")]);
    let changes = [change("A", Some("new")), change("bad=name", Some("x"))];
    let refused = set(&mut fs, &changes);
    assert!(matches!(refused, Err(AdminError::InvalidArgument(_))));
    assert_eq!(list(&mut fs), [pair("A", ""), pair("B", "2")]);
    let changes = [
        change("A", None),
        change("none", None),
        change("B", Some("3")),
    ];
    set(&mut fs, &changes).expect("set");
    assert_eq!(list(&mut fs), [pair("B", "3")]);
    let long = "x".repeat(MAX_VARIABLE_VALUE);
    let five: Vec<_> = ["V", "W", "X", "Y", "Z"]
        .map(|n| change(n, Some(&long)))
        .into();
    assert!(set(&mut fs, &five).is_err(), "80 KiB");
    set(&mut fs, &five[..3]).expect("48 KiB");
    let many: Vec<_> = (0..=2 * MAX_VARIABLES)
        .map(|n| change(&n.to_string(), None))
        .collect();
    assert!(set(&mut fs, &many).is_err());
    assert_eq!(list(&mut fs).len(), 4);
    // What readers may not see.
    let grant = (other(5).0, Role::Writer);
    call::<()>(&mut fs, owner(), methods::ACCESS_GRANT, grant).expect("granted");
    assert_eq!(
        call::<Vec<Variable>>(&mut fs, other(5), methods::ENV_LIST, ()),
        Err(AdminError::NotAuthorized)
    );
}

#[test]
fn fsck_goes_by_parts_and_says_what_is_wrong() {
    let mut fs = new_fs(None);
    let root = fs.root();
    for number in 0..40_000 {
        fs.create(root, format!("{number}").as_bytes())
            .expect("made");
    }
    let part = |fs: &mut TestFs, part: u32| {
        call::<CheckedPart>(fs, owner(), methods::FSCK, (part,)).expect("checked")
    };
    let first = part(&mut fs, 0);
    assert_eq!((first.next, first.parts), (Some(1), 3));
    assert_eq!((&first.findings, &first.rest), (&vec![], &None));
    // Changes between two parts do no harm.
    fs.unlink(root, b"39999").expect("removed");
    assert_eq!(
        (part(&mut fs, 1).next, part(&mut fs, 1).parts),
        (Some(2), 3)
    );
    let last = part(&mut fs, 2);
    assert_eq!((last.next, last.findings), (None, vec![]));
    for beyond in [3, u32::MAX] {
        let reply = part(&mut fs, beyond);
        assert_eq!((reply.next, reply.findings), (None, vec![]));
    }
    // With fewer instructions it takes steps.
    let step = |fs: &mut TestFs, rest: Option<&[u8]>| {
        INSTRUCTIONS.set(0);
        let args = (1_u32, rest.map(Bytes::new), Some(50_000_u64));
        call::<CheckedPart>(fs, owner(), methods::FSCK, args).expect("checked")
    };
    let mut reply = step(&mut fs, None);
    let begun = reply.rest.clone().expect("is not done");
    let mut steps = 1;
    while let Some(rest) = reply.rest {
        assert_eq!((reply.next, reply.findings), (Some(1), vec![]));
        assert!(rest.len() < 700 << 10, "{} bytes", rest.len());
        reply = step(&mut fs, Some(&rest));
        steps += 1;
    }
    assert_eq!((reply.next, reply.findings), (Some(2), vec![]));
    assert!((40..60).contains(&steps), "{steps} steps of 50 x 16 pieces");
    // Between two steps they do: the part starts anew.
    fs.set_now(NOW + 1);
    let reply = step(&mut fs, Some(&begun));
    assert_eq!(
        (reply.next, reply.rest, reply.findings),
        (Some(1), None, vec![])
    );
    for wrong in [&begun[1..], b""] {
        let args = (1_u32, Some(Bytes::new(wrong)), None::<u64>);
        let reply = call::<CheckedPart>(&mut fs, owner(), methods::FSCK, args);
        assert!(
            matches!(reply, Err(AdminError::InvalidArgument(_))),
            "{reply:?}"
        );
    }
    // A link count in the last part.
    let victim = fs.lookup(root, b"39000").expect("is there");
    let memory = fs.into_memory();
    let at = {
        let bytes = memory.borrow();
        // The slot of inode n + 1 follows that of n; this one is found by its change.
        let mut fs = icwasi::fs::Fs::mount(ic_stable_structures::VectorMemory::clone(&memory));
        drop(bytes);
        let fs = fs.as_mut().expect("mounts");
        fs.set_now(NOW);
        let before = memory.borrow().clone();
        fs.link(victim, root, b"second name").expect("linked");
        fs.unlink(root, b"second name").expect("unlinked");
        let after = memory.borrow().clone();
        // The change counter of the victim's inode is 32 bytes into it.
        (0..before.len() / 128)
            .map(|slot| slot * 128)
            .find(|&slot| {
                before[slot..slot + 8] == after[slot..slot + 8]
                    && before[slot] == 1
                    && before[slot + 32..slot + 40] != after[slot + 32..slot + 40]
            })
            .expect("an inode changed")
    };
    memory.borrow_mut()[at + 4] = 9;
    let mut fs = icwasi::fs::Fs::mount(memory).expect("mounts");
    assert_eq!(part(&mut fs, 0).findings, []);
    let found = part(&mut fs, 2).findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].invariant, found[0].subject), (3, victim.0));
    assert_eq!(found[0].detail, "link count");
}
