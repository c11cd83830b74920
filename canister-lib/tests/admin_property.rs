//! Uploads of several callers, interleaved with aborts, wrong bytes, expiry and plain file work,
//! against a model. The file system stays sound, nothing is published early, no space leaks.
#![cfg(feature = "admin")]

mod admin_common;

use std::collections::BTreeMap;

use admin_common::*;
use icwasi::admin::{remove, upload};
use icwasi_types::{AdminError, UploadRequest};
use proptest::prelude::*;

const PATHS: [&str; 4] = ["/a", "/d/b", "/d/e/c", "/d"];
const HOUR: u64 = 3_600 * 1_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    /// Content (by number), path, caller, flags.
    Begin {
        content: usize,
        path: usize,
        caller: u8,
        overwrite: bool,
        parents: bool,
    },
    /// Upload (of those known), granule, whether its bytes are broken.
    Chunk {
        upload: usize,
        granule: u64,
        broken: bool,
    },
    Commit {
        upload: usize,
    },
    Abort {
        upload: usize,
    },
    Remove {
        path: usize,
    },
    Wait {
        hours: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_usize, 0..PATHS.len(), 1..3_u8, any::<bool>(), any::<bool>()).prop_map(
            |(content, path, caller, overwrite, parents)| {
                Step::Begin { content, path, caller, overwrite, parents }
            }
        ),
        12 => (any::<usize>(), 0..4_u64, prop::bool::weighted(0.1)).prop_map(
            |(upload, granule, broken)| Step::Chunk { upload, granule, broken }
        ),
        4 => any::<usize>().prop_map(|upload| Step::Commit { upload }),
        1 => any::<usize>().prop_map(|upload| Step::Abort { upload }),
        1 => (0..PATHS.len()).prop_map(|path| Step::Remove { path }),
        1 => (1..20_u64).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// What the model knows of an upload.
#[derive(Clone)]
struct Known {
    request: UploadRequest,
    content: usize,
    caller: u8,
    state: State,
    arrived: BTreeMap<u64, bool>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Gone,
    Committed,
}

fn run(steps: &[Step], contents: &[Vec<u8>], quota: u64) {
    let mut fs = new_fs(Some(quota));
    let fresh = fs.usage().inodes;
    let mut now = NOW;
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for step in steps {
        let (used, inodes) = (fs.usage().used_bytes, fs.usage().inodes);
        let pick = |at: &usize| known.keys().nth(at % known.len().max(1)).copied();
        match step {
            Step::Begin {
                content,
                path,
                caller,
                overwrite,
                parents,
            } => {
                let mut request = request(PATHS[*path], &contents[*content]);
                (request.overwrite, request.parents) = (*overwrite, *parents);
                match upload::begin(&mut fs, &controller(*caller), now, &request) {
                    Ok(begun) => {
                        let size = request.size;
                        let entry = known.entry(begun.id).or_insert(Known {
                            request: request.clone(),
                            content: *content,
                            caller: *caller,
                            state: State::Open,
                            arrived: BTreeMap::new(),
                        });
                        assert!(entry.state == State::Open, "an id was used again");
                        assert_eq!((entry.content, entry.caller), (*content, *caller));
                        entry.request = request;
                        let arrived: u64 = entry.arrived.keys().map(|g| G.min(size - g * G)).sum();
                        let missing: u64 = begun.missing.iter().map(|range| range.length).sum();
                        assert_eq!(missing, size - arrived);
                    }
                    Err(error) => {
                        if let AdminError::NoSpace { needed, available } = error {
                            assert!(needed > available);
                        }
                        // Fewer if some have expired.
                        assert!(fs.usage().inodes <= inodes, "{error:?}");
                    }
                }
                // Some may have expired.
                for (id, upload) in known.iter_mut().filter(|(_, u)| u.state == State::Open) {
                    let probe = upload::commit(&mut fs, &controller(99), now, *id);
                    if probe == Err(AdminError::UploadNotFound(*id)) {
                        upload.state = State::Gone;
                    } else {
                        assert_eq!(probe, Err(AdminError::NotAuthorized));
                    }
                }
            }
            Step::Chunk {
                upload,
                granule,
                broken,
            } => {
                let Some(id) = pick(upload) else { continue };
                let upload = known.get_mut(&id).expect("picked");
                let data = &contents[upload.content];
                let from = granule * G;
                if from >= data.len() as u64 {
                    continue;
                }
                let to = (from + G).min(data.len() as u64);
                let mut bytes = data[from as usize..to as usize].to_vec();
                bytes[0] ^= u8::from(*broken);
                let me = controller(upload.caller);
                let result = upload::chunk(&mut fs, &me, now, id, from, &bytes);
                let expected = match (upload.state, upload.arrived.get(granule)) {
                    (State::Gone, _) => Err(AdminError::UploadNotFound(id)),
                    (State::Committed, _) => Err(AdminError::UploadFinished(id)),
                    (State::Open, Some(was)) if was != broken => {
                        Err(AdminError::ChunkConflict { offset: from })
                    }
                    (State::Open, _) => Ok(()),
                };
                // Splitting an extent may need a block that nobody could reserve.
                if !matches!(result, Err(AdminError::NoSpace { .. })) || expected.is_err() {
                    assert_eq!(result, expected);
                }
                if result.is_ok() {
                    upload.arrived.insert(*granule, *broken);
                }
            }
            Step::Commit { upload } => {
                let Some(id) = pick(upload) else { continue };
                let upload = known.get_mut(&id).expect("picked");
                let granules = upload.request.size.div_ceil(G);
                let result = upload::commit(&mut fs, &controller(upload.caller), now, id);
                let path = PATHS.iter().find(|path| **path == upload.request.path);
                let path = *path.expect("is one of them");
                match result {
                    Ok(stat) => {
                        assert!(upload.state != State::Gone);
                        assert!(upload.arrived.values().all(|broken| !broken));
                        assert_eq!(upload.arrived.len() as u64, granules);
                        assert_eq!(stat.size, upload.request.size);
                        if upload.state == State::Open {
                            let before = files.insert(path, upload.content);
                            assert!(before.is_none() || upload.request.overwrite);
                        }
                        upload.state = State::Committed;
                    }
                    Err(AdminError::UploadNotFound(_)) => assert!(upload.state == State::Gone),
                    Err(error) => {
                        assert!(upload.state == State::Open, "{error:?}");
                        let incomplete = matches!(error, AdminError::UploadIncomplete { .. });
                        assert_eq!(incomplete, (upload.arrived.len() as u64) < granules);
                        assert_eq!(fs.usage().used_bytes, used, "{error:?}");
                    }
                }
            }
            Step::Abort { upload } => {
                let Some(id) = pick(upload) else { continue };
                let upload = known.get_mut(&id).expect("picked");
                let result = upload::abort(&mut fs, id);
                assert_eq!(result.is_ok(), upload.state == State::Open);
                if result.is_ok() {
                    upload.state = State::Gone;
                }
            }
            Step::Remove { path } => {
                let path = PATHS[*path];
                if remove::remove(&mut fs, path, true).is_ok() {
                    files.retain(|name, _| *name != path && !name.starts_with(&format!("{path}/")));
                }
            }
            Step::Wait { hours } => {
                now += hours * HOUR;
                fs.set_now(now);
            }
        }
        for path in PATHS {
            let there = read_all(&mut fs, path).ok();
            let expected = files.get(path).map(|content| &contents[*content]);
            assert!(there.as_ref() == expected, "{path} after {step:?}");
        }
        check(&mut fs);
    }
    for id in known.keys() {
        let _ = upload::abort(&mut fs, *id);
    }
    for path in PATHS {
        let _ = remove::remove(&mut fs, path, true);
    }
    check(&mut fs);
    // What remains is the hidden directory and the record of commits in it. With a clean check,
    // no inode too many means no block too many.
    let own = if known.is_empty() { 0 } else { 2 };
    assert_eq!(fs.usage().inodes, fresh + own, "inodes leaked");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn interleaved_uploads(
        steps in prop::collection::vec(step(), 1..120),
        quota in 256_u64 << 10..8 << 20,
    ) {
        let contents =
            [content(0, 1), content(77, 2), content(2 * G, 3), content(3 * G + 9, 4)];
        run(&steps, &contents, quota);
    }
}
