//! Uploads: what works, and everything that must be refused without a trace.
#![cfg(feature = "admin")]

mod admin_common;

use admin_common::*;
use icwasi::admin::upload::{abort, chunk, commit, count};
use icwasi::admin::{manage, upload};
use icwasi_types::limits::MAX_CHUNK;
use icwasi_types::{AdminError, FileType, Range, UploadRequest};
use serde_bytes::ByteBuf;

#[test]
fn chunks_in_any_order_become_the_file() {
    let mut fs = new_fs(None);
    let data = content(5 * G + 77, 1);
    let mut wanted = request("/data/sub/cities.db", &data);
    wanted.parents = true;
    wanted.modified = Some(123_456_789);
    let upload = begin(&mut fs, &wanted).expect("begins");
    assert_eq!(
        upload.missing,
        [Range {
            offset: 0,
            length: data.len() as u64
        }]
    );
    let me = controller(1);
    for (from, to) in [(4, 6), (1, 2), (2, 4), (1, 3), (0, 1)] {
        assert!(matches!(
            commit(&mut fs, &me, NOW, upload.id),
            Err(AdminError::UploadIncomplete { .. })
        ));
        assert!(matches!(
            read_all(&mut fs, &wanted.path),
            Err(AdminError::NotFound(_))
        ));
        let (from, to) = (from * G, (to * G).min(data.len() as u64));
        chunk(
            &mut fs,
            &me,
            NOW,
            upload.id,
            from,
            &data[from as usize..to as usize],
        )
        .expect("accepted");
    }
    let stat = commit(&mut fs, &me, NOW, upload.id).expect("committed");
    assert_eq!(
        (stat.file_type, stat.size),
        (FileType::Regular, data.len() as u64)
    );
    assert_eq!((stat.modified, stat.links), (123_456_789, 1));
    assert_eq!(read_all(&mut fs, &wanted.path), Ok(data));
    let now_there = manage::stat(&mut fs, &wanted.path).expect("is there");
    assert_eq!(
        (now_there.inode, now_there.version),
        (stat.inode, stat.version)
    );
    check(&mut fs);
}

#[test]
fn empty_small_and_exact_sizes() {
    let mut fs = new_fs(None);
    for size in [
        0,
        1,
        1_024,
        1_025,
        G - 1,
        G,
        G + 1,
        2 * G,
        MAX_CHUNK,
        MAX_CHUNK + 1,
    ] {
        let data = content(size, size + 1);
        let path = format!("/file-{size}");
        assert_eq!(put(&mut fs, &path, &data).size, size);
        assert_eq!(read_all(&mut fs, &path), Ok(data));
    }
    check(&mut fs);
}

#[test]
fn a_lost_reply_may_be_retried_at_every_step() {
    let mut fs = new_fs(None);
    let data = content(3 * G, 1);
    let wanted = request("/f", &data);
    let me = controller(1);
    let upload = begin(&mut fs, &wanted).expect("begins");
    chunk(
        &mut fs,
        &me,
        NOW,
        upload.id,
        G,
        &data[G as usize..2 * G as usize],
    )
    .expect("accepted");
    // A new client process resumes.
    let resumed = begin(&mut fs, &wanted).expect("resumes");
    assert_eq!(resumed.id, upload.id);
    let hole = |offset| Range { offset, length: G };
    assert_eq!(resumed.missing, [hole(0), hole(2 * G)]);
    send(&mut fs, &resumed, &data);
    send(&mut fs, &upload, &data);
    let stat = commit(&mut fs, &me, NOW, upload.id).expect("committed");
    assert_eq!(commit(&mut fs, &me, NOW + DAY, upload.id), Ok(stat));
    let late = chunk(&mut fs, &me, NOW, upload.id, 0, &data[..G as usize]);
    assert_eq!(late, Err(AdminError::UploadFinished(upload.id)));
    assert_eq!(
        abort(&mut fs, upload.id),
        Err(AdminError::UploadFinished(upload.id))
    );
    // The record of a commit is its owner's.
    let other = commit(&mut fs, &controller(2), NOW, upload.id);
    assert_eq!(other, Err(AdminError::NotAuthorized));
    check(&mut fs);
}

#[test]
fn bad_chunks_are_refused_and_change_nothing() {
    let mut fs = new_fs(None);
    let size = 20 * G + 5;
    let data = content(size, 1);
    let upload = begin(&mut fs, &request("/f", &data)).expect("begins");
    let me = controller(1);
    let used = fs.usage().used_bytes;
    let huge = vec![0; MAX_CHUNK as usize + G as usize];
    let mut refused = |offset: u64, bytes: &[u8]| {
        chunk(&mut fs, &me, NOW, upload.id, offset, bytes).expect_err("refused")
    };
    let out = |offset, length| AdminError::ChunkOutOfRange {
        offset,
        length,
        size,
    };
    assert_eq!(refused(21 * G, &data[..1]), out(21 * G, 1));
    assert_eq!(refused(20 * G, &data[..6]), out(20 * G, 6));
    assert_eq!(
        refused(u64::MAX - G + 1, &data[..G as usize]),
        out(u64::MAX - G + 1, G)
    );
    assert_eq!(refused(u64::MAX, &data[..2]), out(u64::MAX, 2));
    assert_eq!(refused(0, &huge), out(0, huge.len() as u64));
    let askew = |offset, length| AdminError::ChunkMisaligned {
        offset,
        length,
        align: G as u32,
    };
    assert_eq!(refused(1, &data[..G as usize]), askew(1, G));
    assert_eq!(refused(0, &data[..5]), askew(0, 5));
    assert_eq!(refused(G, &data[..G as usize + 1]), askew(G, G + 1));
    // Not a stranger to the canister, but to the upload.
    let theirs = chunk(
        &mut fs,
        &controller(2),
        NOW,
        upload.id,
        0,
        &data[..G as usize],
    );
    assert_eq!(theirs, Err(AdminError::NotAuthorized));
    let unknown = chunk(&mut fs, &me, NOW, upload.id + 1, 0, &data[..G as usize]);
    assert_eq!(unknown, Err(AdminError::UploadNotFound(upload.id + 1)));
    assert_eq!(begin(&mut fs, &request("/f", &data)), Ok(upload.clone()));
    assert_eq!(fs.usage().used_bytes, used);

    // The second granule of this chunk was sent before with other bytes: none of it is taken.
    chunk(
        &mut fs,
        &me,
        NOW,
        upload.id,
        G,
        &data[G as usize..2 * G as usize],
    )
    .expect("accepted");
    let mut other = data[..2 * G as usize].to_vec();
    other[G as usize + 9] ^= 1;
    let conflict = chunk(&mut fs, &me, NOW, upload.id, 0, &other);
    assert_eq!(conflict, Err(AdminError::ChunkConflict { offset: G }));
    let missing = begin(&mut fs, &request("/f", &data))
        .expect("resumes")
        .missing;
    assert_eq!(
        missing[0],
        Range {
            offset: 0,
            length: G
        }
    );
    send(&mut fs, &upload, &data);
    commit(&mut fs, &me, NOW, upload.id).expect("committed");
    assert_eq!(read_all(&mut fs, "/f"), Ok(data));
}

#[test]
fn a_wrong_hash_is_found_and_can_be_aborted() {
    let mut fs = new_fs(None);
    let (data, before) = (content(2 * G + 9, 1), content(10, 2));
    put(&mut fs, "/f", &before);
    let mut wanted = request("/f", &data);
    wanted.overwrite = true;
    wanted.hash = ByteBuf::from([9; 32]);
    let used = fs.usage().used_bytes;
    let upload = begin(&mut fs, &wanted).expect("begins");
    send(&mut fs, &upload, &data);
    for _ in 0..2 {
        let error = commit(&mut fs, &controller(1), NOW, upload.id).expect_err("refused");
        let actual = ByteBuf::from(*blake3::hash(&data).as_bytes());
        assert_eq!(
            error,
            AdminError::HashMismatch {
                expected: wanted.hash.clone(),
                actual
            }
        );
    }
    assert_eq!(read_all(&mut fs, "/f"), Ok(before));
    assert_eq!(abort(&mut fs, upload.id), Ok(()));
    assert_eq!(
        abort(&mut fs, upload.id),
        Err(AdminError::UploadNotFound(upload.id))
    );
    assert_eq!(fs.usage().used_bytes, used);
    check(&mut fs);
}

#[test]
fn begin_refuses_what_commit_would() {
    let mut fs = new_fs(None);
    let data = content(10, 1);
    put(&mut fs, "/dir/file", &data);
    let root = fs.root();
    fs.symlink(root, b"link", b"dir").expect("made");
    fs.symlink(root, b"out", b"../../etc").expect("made");
    fs.symlink(root, b"dangling", b"nowhere").expect("made");
    let used = fs.usage().used_bytes;
    let mut refused = |path: &str| begin(&mut fs, &request(path, &data)).expect_err("refused");
    assert_eq!(refused("/"), AdminError::IsADirectory("/".into()));
    assert_eq!(refused("/dir"), AdminError::IsADirectory("/dir".into()));
    assert_eq!(
        refused("/dir/file"),
        AdminError::AlreadyExists("/dir/file".into())
    );
    assert_eq!(
        refused("/link/file"),
        AdminError::AlreadyExists("/link/file".into())
    );
    assert_eq!(refused("/no/dir/file"), AdminError::NotFound("/no".into()));
    assert_eq!(
        refused("/dir/file/x"),
        AdminError::NotADirectory("/dir/file".into())
    );
    assert_eq!(
        refused("/dangling/x"),
        AdminError::NotFound("/dangling".into())
    );
    for path in ["", "rel", "/a/../b", "/../x", "/a\0", "/out/x", "/new/"] {
        assert!(
            matches!(refused(path), AdminError::InvalidPath { .. }),
            "{path:?}"
        );
    }
    assert!(matches!(
        refused(&format!("/{}", "n".repeat(256))),
        AdminError::InvalidPath { .. }
    ));
    let mut short = request("/x", &data);
    short.hash = ByteBuf::from([0; 31]);
    assert!(matches!(
        begin(&mut fs, &short),
        Err(AdminError::InvalidArgument(_))
    ));
    assert_eq!(fs.usage().used_bytes, used);
    assert_eq!(count(&mut fs), Ok(0));
}

#[test]
fn commit_checks_the_path_again() {
    let mut fs = new_fs(None);
    let data = content(10, 1);
    let upload = begin(&mut fs, &request("/f", &data)).expect("begins");
    send(&mut fs, &upload, &data);
    let me = controller(1);
    manage::mkdir(&mut fs, "/f", false).expect("made");
    assert_eq!(
        commit(&mut fs, &me, NOW, upload.id),
        Err(AdminError::IsADirectory("/f".into()))
    );
    manage::rename(&mut fs, "/f", "/g", false).expect("renamed");
    let root = fs.root();
    fs.create(root, b"f").expect("made");
    assert_eq!(
        commit(&mut fs, &me, NOW, upload.id),
        Err(AdminError::AlreadyExists("/f".into()))
    );
    // The same upload, now told to overwrite.
    let mut wanted = request("/f", &data);
    wanted.overwrite = true;
    assert_eq!(begin(&mut fs, &wanted).expect("resumes").id, upload.id);
    commit(&mut fs, &me, NOW, upload.id).expect("committed");
    assert_eq!(read_all(&mut fs, "/f"), Ok(data));
}

#[test]
fn a_link_at_the_target_is_replaced_not_followed() {
    let mut fs = new_fs(None);
    let data = content(100, 1);
    put(&mut fs, "/precious", &content(50, 2));
    let root = fs.root();
    fs.symlink(root, b"link", b"precious").expect("made");
    let mut wanted = request("/link", &data);
    assert!(matches!(
        begin(&mut fs, &wanted),
        Err(AdminError::AlreadyExists(_))
    ));
    wanted.overwrite = true;
    push(&mut fs, &wanted, &data).expect("pushed");
    assert_eq!(
        manage::stat(&mut fs, "/link").expect("is there").file_type,
        FileType::Regular
    );
    assert_eq!(read_all(&mut fs, "/precious"), Ok(content(50, 2)));
}

#[test]
fn space_is_reserved_at_the_beginning() {
    let mut fs = new_fs(Some(4 << 20));
    let data = content(2 << 20, 1);
    let upload = begin(&mut fs, &request("/a", &data)).expect("fits");
    let used = fs.usage().used_bytes;
    // Together they would not fit, although no byte of the first was sent.
    let Err(AdminError::NoSpace { needed, available }) = begin(&mut fs, &request("/b", &data))
    else {
        panic!("over-committed")
    };
    assert!(
        needed > 2 << 20 && available < 2 << 20,
        "{needed} {available}"
    );
    let mut endless = request("/c", &data);
    endless.size = u64::MAX;
    assert!(matches!(
        begin(&mut fs, &endless),
        Err(AdminError::NoSpace { .. })
    ));
    assert_eq!(fs.usage().used_bytes, used);
    send(&mut fs, &upload, &data);
    assert_eq!(fs.usage().used_bytes, used, "chunks take no more space");
    commit(&mut fs, &controller(1), NOW, upload.id).expect("committed");
    assert_eq!(read_all(&mut fs, "/a"), Ok(data));
    check(&mut fs);
}

#[test]
fn a_commit_that_lacks_space_for_directories_leaves_none_of_them() {
    let mut fs = new_fs(Some(2 << 20));
    let data = content(10, 1);
    let path = format!("{}/f", "/dir".repeat(60));
    let mut wanted = request(&path, &data);
    wanted.parents = true;
    let upload = begin(&mut fs, &wanted).expect("begins");
    send(&mut fs, &upload, &data);
    // Somebody else takes all but a few blocks.
    let root = fs.root();
    let filler = fs.create(root, b"filler").expect("made");
    let left = fs.usage().free_bytes - 32 * u64::from(fs.usage().block_size);
    fs.allocate(filler, 0, left).expect("there is so much");
    let inodes = fs.usage().inodes;
    let me = controller(1);
    for _ in 0..3 {
        let error = commit(&mut fs, &me, NOW, upload.id).expect_err("no room for 60 directories");
        assert!(matches!(error, AdminError::NoSpace { .. }), "{error:?}");
        assert_eq!(
            manage::stat(&mut fs, "/dir"),
            Err(AdminError::NotFound("/dir".into()))
        );
        assert_eq!(fs.usage().inodes, inodes);
        let error = manage::mkdir(&mut fs, &path, true).expect_err("no room for it");
        assert!(matches!(error, AdminError::NoSpace { .. }), "{error:?}");
        assert_eq!(fs.usage().inodes, inodes);
        check(&mut fs);
    }
    fs.unlink(root, b"filler").expect("removed");
    commit(&mut fs, &me, NOW, upload.id).expect("now there is room");
    assert_eq!(read_all(&mut fs, &path), Ok(data));
    check(&mut fs);
}

#[test]
fn uploads_are_limited_and_expire() {
    let mut fs = new_fs(None);
    let data = content(1, 1);
    let first = begin(&mut fs, &request("/f0", &data)).expect("begins");
    let inodes = fs.usage().inodes;
    for number in 1..256 {
        begin(&mut fs, &request(&format!("/f{number}"), &data)).expect("begins");
    }
    let more = request("/more", &data);
    assert_eq!(begin(&mut fs, &more), Err(AdminError::TooManyUploads(256)));
    // One that is known is resumed all the same.
    assert_eq!(
        begin(&mut fs, &request("/f0", &data)).expect("resumes").id,
        first.id
    );
    // A day later, uploads that nobody touched make room, a few at a time; the first lives.
    let me = controller(1);
    chunk(&mut fs, &me, NOW + DAY, first.id, 0, &data).expect("accepted");
    for round in 1..=17 {
        let again = UploadRequest {
            path: format!("/more{round}"),
            ..more.clone()
        };
        upload::begin(&mut fs, &me, NOW + DAY + 1, &again).expect("begins");
    }
    assert_eq!(count(&mut fs), Ok(1 + 17));
    commit(&mut fs, &me, NOW + DAY, first.id).expect("committed");
    for id in 0..400 {
        let _ = abort(&mut fs, id);
    }
    assert_eq!(count(&mut fs), Ok(0));
    // The first had two files, its result is one. With a clean check, no inode too many means
    // no block too many.
    assert_eq!(fs.usage().inodes, inodes - 1);
    check(&mut fs);
}
