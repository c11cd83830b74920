//! Looking at files and arranging them, and who may.
#![cfg(feature = "admin")]

mod admin_common;

use std::collections::BTreeSet;

use admin_common::*;
use candid::{Decode, Encode, Principal};
use icwasi::admin::auth::Caller;
use icwasi::admin::remove::remove;
use icwasi::admin::{Call, dispatch, download, manage};
use icwasi_types::limits::{MAX_CHUNK, MAX_READ};
use icwasi_types::{AdminError, FileType, Removed, methods};
use proptest::prelude::*;

#[test]
fn list_pages_cover_everything_once_while_entries_come_and_go() {
    let mut fs = new_fs(None);
    let root = fs.root();
    manage::mkdir(&mut fs, "/d", false).expect("made");
    let dir = fs.lookup(root, b"d").expect("is there");
    for number in 0..250 {
        fs.create(dir, format!("stay{number}").as_bytes())
            .expect("made");
    }
    let mut seen = BTreeSet::new();
    let mut cursor = None;
    for page_number in 0.. {
        let page = manage::list(&mut fs, "/d", cursor, 7).expect("lists");
        assert!(page.entries.len() <= 7);
        for entry in &page.entries {
            assert!(seen.insert(entry.name.clone()), "{} twice", entry.name);
            assert_eq!(entry.stat.file_type, FileType::Regular);
            // Removing what was listed disturbs nobody.
            if entry.name.ends_with('3') {
                fs.unlink(dir, entry.name.as_bytes()).expect("removed");
            }
        }
        fs.create(dir, format!("new{page_number}").as_bytes())
            .expect("made");
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        assert!(page_number < 1_000, "the listing does not end");
    }
    assert_eq!(
        seen.iter().filter(|name| name.starts_with("stay")).count(),
        250
    );
    let all = manage::list(&mut fs, "/d", None, u32::MAX).expect("lists");
    assert_eq!(
        (
            all.next,
            all.entries.iter().any(|e| e.name.starts_with('.'))
        ),
        (None, false)
    );
    assert!(matches!(
        manage::list(&mut fs, "/d", None, 0),
        Err(AdminError::InvalidArgument(_))
    ));
    let file = "/d/stay0";
    assert_eq!(
        manage::list(&mut fs, file, None, 5),
        Err(AdminError::NotADirectory(file.into()))
    );
    // A cursor that was never given out.
    manage::list(&mut fs, "/d", Some(u64::MAX), 5).expect("ends");
}

#[test]
fn read_ends_with_the_file() {
    let mut fs = new_fs(None);
    let data = content(MAX_READ + 10, 1);
    put(&mut fs, "/f", &data);
    let mut read = |offset, length| download::read(&mut fs, "/f", offset, length).expect("reads");
    assert_eq!(read(0, u64::MAX).data.len() as u64, MAX_READ);
    assert_eq!(read(MAX_READ, u64::MAX).data[..], data[MAX_READ as usize..]);
    assert_eq!(read(5, 3).data[..], data[5..8]);
    assert_eq!(read(data.len() as u64, 1).data.len(), 0);
    assert_eq!(read(u64::MAX, u64::MAX).data.len(), 0);
    let before = read(0, 0);
    assert_eq!(before.size, data.len() as u64);
    let ino = fs.lookup(fs.root(), b"f").expect("is there");
    fs.write(ino, 0, b"x").expect("written");
    let after = download::read(&mut fs, "/f", 0, 0).expect("reads");
    assert!(after.version > before.version);
    assert_eq!(
        download::read(&mut fs, "/", 0, 1),
        Err(AdminError::IsADirectory("/".into()))
    );
}

#[test]
fn mkdir_and_rename() {
    let mut fs = new_fs(None);
    let mkdir = manage::mkdir;
    assert_eq!(mkdir(&mut fs, "/", true), Ok(()));
    assert_eq!(
        mkdir(&mut fs, "/", false),
        Err(AdminError::AlreadyExists("/".into()))
    );
    assert_eq!(
        mkdir(&mut fs, "/a/b", false),
        Err(AdminError::NotFound("/a".into()))
    );
    assert_eq!(mkdir(&mut fs, "/a/b/c", true), Ok(()));
    assert_eq!(mkdir(&mut fs, "/a/b/", true), Ok(()));
    assert_eq!(
        mkdir(&mut fs, "/a/b", false),
        Err(AdminError::AlreadyExists("/a/b".into()))
    );
    put(&mut fs, "/f", b"one");
    put(&mut fs, "/g", b"two");
    assert_eq!(
        mkdir(&mut fs, "/f/x", true),
        Err(AdminError::NotADirectory("/f".into()))
    );

    let rename = manage::rename;
    assert_eq!(
        rename(&mut fs, "/f", "/g", false),
        Err(AdminError::AlreadyExists("/g".into()))
    );
    assert_eq!(rename(&mut fs, "/f", "/g", true), Ok(()));
    assert_eq!(read_all(&mut fs, "/g"), Ok(b"one".to_vec()));
    assert_eq!(
        rename(&mut fs, "/f", "/h", true),
        Err(AdminError::NotFound("/f".into()))
    );
    assert!(matches!(
        rename(&mut fs, "/a", "/a/b/c/d", false),
        Err(AdminError::InvalidArgument(_))
    ));
    assert!(matches!(
        rename(&mut fs, "/", "/z", true),
        Err(AdminError::InvalidPath { .. })
    ));
    assert!(matches!(
        rename(&mut fs, "/a", "/", true),
        Err(AdminError::InvalidPath { .. })
    ));
    assert_eq!(
        rename(&mut fs, "/g", "/new/", true),
        Err(AdminError::NotADirectory("/new/".into()))
    );
    assert_eq!(rename(&mut fs, "/a/b", "/moved", false), Ok(()));
    assert_eq!(
        manage::stat(&mut fs, "/moved/c").map(|s| s.file_type),
        Ok(FileType::Directory)
    );
    check(&mut fs);
}

#[test]
fn remove_takes_trees_in_steps_and_spares_what_links_point_to() {
    let mut fs = new_fs(None);
    put(&mut fs, "/precious/keep", b"data");
    let inodes = fs.usage().inodes;
    manage::mkdir(&mut fs, "/t", false).expect("made");
    let root = fs.root();
    let mut dir = fs.lookup(root, b"t").expect("is there");
    // Deeper than one call goes, with a link out of the tree at the bottom.
    for level in 0..2_300 {
        fs.create(dir, b"file").expect("made");
        dir = fs.mkdir(dir, format!("d{level}").as_bytes()).expect("made");
    }
    fs.symlink(dir, b"out", b"/precious").expect("made");
    assert_eq!(
        remove(&mut fs, "/t", false),
        Err(AdminError::NotEmpty("/t".into()))
    );
    assert!(matches!(
        remove(&mut fs, "/", true),
        Err(AdminError::InvalidPath { .. })
    ));
    let mut total = 0;
    for calls in 1.. {
        let Removed { removed, more } = remove(&mut fs, "/t", true).expect("removes");
        total += removed;
        if !more {
            assert!(calls > 1, "one call did it all");
            break;
        }
        assert!(removed > 0 && calls < 50, "no progress");
    }
    assert_eq!(total, 2 * 2_300 + 2);
    assert_eq!(
        remove(&mut fs, "/t", true),
        Err(AdminError::NotFound("/t".into()))
    );
    assert_eq!(read_all(&mut fs, "/precious/keep"), Ok(b"data".to_vec()));
    assert!(remove(&mut fs, "/precious/keep/", true).is_err());
    assert_eq!(
        remove(&mut fs, "/precious/keep", false),
        Ok(Removed {
            removed: 1,
            more: false
        })
    );
    assert_eq!(
        remove(&mut fs, "/precious", false),
        Ok(Removed {
            removed: 1,
            more: false
        })
    );
    // With a clean check, no inode too many means no block too many.
    assert_eq!(fs.usage().inodes, inodes - 2);
    check(&mut fs);
}

/// A variant with `Err` only decodes as any of the results.
fn error_of(bytes: &[u8]) -> AdminError {
    Decode!(bytes, Result<(), AdminError>)
        .expect("a reply of the interface")
        .expect_err("refused")
}

#[test]
fn strangers_are_refused_everywhere_before_their_argument_is_read() {
    let mut fs = new_fs(None);
    let stranger = Principal::self_authenticating([5; 32]);
    for (principal, is_controller) in [
        (stranger, false),
        (Principal::anonymous(), false),
        (Principal::anonymous(), true),
    ] {
        let call = Call {
            caller: Caller {
                principal,
                is_controller,
            },
            now: NOW,
            linked_quota: None,
            instructions: || 0,
        };
        for name in methods::ALL {
            let reply = dispatch(&mut fs, &call, name, b"no candid").expect("is a method");
            assert_eq!(
                error_of(&reply.pieces().concat()),
                AdminError::NotAuthorized,
                "{name}"
            );
        }
    }
}

#[test]
fn arguments_that_are_no_candid_are_refused() {
    let mut fs = new_fs(None);
    let call = Call {
        caller: controller(1),
        now: NOW,
        linked_quota: None,
        instructions: || 0,
    };
    let wrong_type = Encode!(&vec![1_u8, 2, 3], &true).expect("encodes");
    // A table that claims 2^32 types, and a blob that claims more than it has.
    let huge_table = b"DIDL\xff\xff\xff\xff\x0f".to_vec();
    let short_text = b"DIDL\x00\x01\x71\xff\xff\x7fabc".to_vec();
    let without_arguments = [methods::INFO, methods::ENV_LIST, methods::ACCESS_LIST];
    for name in methods::ALL {
        if without_arguments.contains(&name) {
            continue;
        }
        for arg in [
            &b""[..],
            b"DIDL",
            b"no candid",
            &wrong_type,
            &huge_table,
            &short_text,
        ] {
            let reply = dispatch(&mut fs, &call, name, arg).expect("is a method");
            let error = error_of(&reply.pieces().concat());
            assert!(
                matches!(error, AdminError::InvalidArgument(_)),
                "{name}: {error:?}"
            );
        }
    }
    assert!(dispatch(&mut fs, &call, "icwasi_other", b"").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever bytes a controller sends, there is an answer.
    #[test]
    fn damaged_arguments_never_trap(
        method in 0..methods::ALL.len(),
        which in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut fs = new_fs(Some(1 << 20));
        let mut arg = match which {
            0 => Encode!(&request("/f", b"x")),
            1 => Encode!(&1_u64, &0_u64, &serde_bytes::Bytes::new(b"x")),
            2 => Encode!(&"/d/e", &true),
            3 => Encode!(&"/", &Some(3_u64), &10_u32),
            _ => Encode!(&"/a", &"/b", &true),
        }
        .expect("encodes");
        for (at, value) in &changes {
            *at.get_mut(&mut arg) = *value;
        }
        arg.truncate(cut.index(arg.len()) + 1);
        let call = Call { caller: controller(1), now: NOW, linked_quota: None, instructions: || 0 };
        let reply = dispatch(&mut fs, &call, methods::ALL[method], &arg).expect("is a method");
        prop_assert!(reply.pieces().concat().starts_with(b"DIDL"));
        check(&mut fs);
    }
}

#[test]
fn an_upload_through_candid() {
    let mut fs = new_fs(None);
    let call = Call {
        caller: controller(1),
        now: NOW,
        linked_quota: None,
        instructions: || 0,
    };
    let data = content(MAX_CHUNK, 1);
    let mut send = |name: &str, arg: Vec<u8>| {
        dispatch(&mut fs, &call, name, &arg)
            .expect("is a method")
            .pieces()
            .concat()
    };
    let begun = send(
        methods::UPLOAD_BEGIN,
        Encode!(&request("/f", &data)).expect("encodes"),
    );
    let upload = Decode!(&begun, Result<icwasi_types::Upload, AdminError>)
        .expect("decodes")
        .expect("begins");
    let chunk = Encode!(&upload.id, &0_u64, &serde_bytes::Bytes::new(&data)).expect("encodes");
    let stored = send(methods::UPLOAD_CHUNK, chunk);
    assert_eq!(
        Decode!(&stored, Result<(), AdminError>).expect("decodes"),
        Ok(())
    );
    let done = send(
        methods::UPLOAD_COMMIT,
        Encode!(&upload.id).expect("encodes"),
    );
    let stat = Decode!(&done, Result<icwasi_types::Stat, AdminError>).expect("decodes");
    assert_eq!(stat.map(|stat| stat.size), Ok(data.len() as u64));
    let read = send(
        methods::READ,
        Encode!(&"/f", &1_u64, &u64::MAX).expect("encodes"),
    );
    let read = Decode!(&read, Result<icwasi_types::ReadReply, AdminError>).expect("decodes");
    assert_eq!(read.expect("reads").data[..], data[1..]);
    let info = send(methods::INFO, Encode!().expect("encodes"));
    let info = Decode!(&info, Result<icwasi_types::Info, AdminError>).expect("decodes");
    assert_eq!(info.expect("informs").open_uploads, 0);
}
