//! `candid/icwasi.did` is what the code does.
#![cfg(feature = "admin")]

use candid_parser::utils::{CandidSource, service_equal};

#[test]
fn the_did_file_equals_the_code() {
    let did = concat!(env!("CARGO_MANIFEST_DIR"), "/../candid/icwasi.did");
    let code = icwasi::admin::interface();
    service_equal(CandidSource::Text(&code), CandidSource::File(did.as_ref()))
        .unwrap_or_else(|error| panic!("{error}\n{code}"));
    // The comparison can fail.
    let other = code
        .replace("limit", "limits")
        .replace("block_size", "block");
    assert!(service_equal(CandidSource::Text(&other), CandidSource::File(did.as_ref())).is_err());
}

#[test]
fn methods_have_the_names_of_the_types_crate() {
    let code = icwasi::admin::interface();
    for name in icwasi_types::methods::ALL {
        assert!(code.contains(&format!("  {name} : ")), "{name} in\n{code}");
    }
    assert_eq!(code.matches(icwasi_types::methods::PREFIX).count(), 18);
    assert_eq!(icwasi_types::methods::ALL.len(), 18);
}
