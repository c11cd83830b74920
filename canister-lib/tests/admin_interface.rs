//! `candid/icwasi.did` is what the code does.
#![cfg(feature = "admin")]

use candid_parser::utils::{CandidSource, service_compatible, service_equal};

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

/// Clients of version 1.0 understand this one.
#[test]
fn the_interface_is_a_subtype_of_earlier_ones() {
    let new = icwasi::admin::interface();
    let old = include_str!("interfaces/icwasi-1.0.did");
    let compatible =
        |new: &str| service_compatible(CandidSource::Text(new), CandidSource::Text(old));
    compatible(&new).unwrap_or_else(|error| panic!("{error}"));
    // The comparison can fail.
    assert!(compatible(&new.replace("block_size", "block")).is_err());
    assert!(compatible(&new.replace("icwasi_stat", "icwasi_status")).is_err());
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
