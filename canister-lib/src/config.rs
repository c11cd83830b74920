//! Decoder of the candid-encoded [`LinkConfig`]. Fields that it does not know are skipped, so a
//! newer linker can say more.

use icwasi_types::{LinkConfig, Preopen};

use crate::candid_reader::{BOOL, CandidError, NAT16, NAT64, Reader, TEXT, Type, field_id, lookup};

/// Decodes what the linker stored. Nothing stored is the default.
///
/// # Errors
/// If it is not candid of a record, or a known field has another type.
pub fn decode(bytes: &[u8]) -> Result<LinkConfig, CandidError> {
    if bytes.is_empty() {
        return Ok(LinkConfig::default());
    }
    let (mut reader, types, fields) = Reader::of_record(bytes)?;
    let mut config = LinkConfig::default();
    for (id, field) in fields {
        if id == field_id("version") {
            config.version = version(&mut reader, field)?;
        } else if id == field_id("args") {
            config.args = reader.texts(&types, field)?;
        } else if id == field_id("env") {
            config.env = reader.pairs(&types, field)?;
        } else if id == field_id("quota_bytes") {
            config.quota_bytes = opt_nat64(&mut reader, &types, field)?;
        } else if id == field_id("tmp_bytes") {
            config.tmp_bytes = opt_nat64(&mut reader, &types, field)?;
        } else if id == field_id("preopens") {
            config.preopens = preopens(&mut reader, &types, field)?;
        } else {
            reader.skip(&types, field)?;
        }
    }
    Ok(config)
}

fn version(reader: &mut Reader<'_>, field: i64) -> Result<u16, CandidError> {
    if field != NAT16 {
        return Err(reader.error("version: nat16 expected"));
    }
    let bytes = reader.take(2)?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn opt_nat64(
    reader: &mut Reader<'_>,
    types: &[Type],
    field: i64,
) -> Result<Option<u64>, CandidError> {
    let Some(&Type::Opt(NAT64)) = lookup(types, field) else {
        return Err(reader.error("opt nat64 expected"));
    };
    reader.is_some()?.then(|| reader.nat64()).transpose()
}

fn preopens(
    reader: &mut Reader<'_>,
    types: &[Type],
    field: i64,
) -> Result<Vec<Preopen>, CandidError> {
    let (path, flag) = ((field_id("path"), TEXT), (field_id("read_only"), BOOL));
    let (length, element) = reader.vector(types, field)?;
    let fields = match lookup(types, element) {
        Some(Type::Record(fields)) => &fields[..],
        _ => &[],
    };
    // In the order of the hashes of their names.
    if fields != [path, flag] && fields != [flag, path] {
        return Err(reader.error("preopens: vec record { path : text; read_only : bool } expected"));
    }
    (0..length)
        .map(|_| {
            let mut preopen = Preopen::default();
            for field in fields {
                if *field == path {
                    preopen.path = reader.text()?;
                } else {
                    preopen.read_only = reader.byte()? != 0;
                }
            }
            Ok(preopen)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::{CandidType, Encode};

    fn sample() -> LinkConfig {
        LinkConfig {
            version: 1,
            args: vec!["prog".into(), "-v".into(), "ü".into()],
            env: vec![("HOME".into(), "/".into()), ("EMPTY".into(), String::new())],
            quota_bytes: Some(1 << 40),
            preopens: vec![
                Preopen {
                    path: "/data".into(),
                    read_only: false,
                },
                Preopen {
                    path: "/etc".into(),
                    read_only: true,
                },
            ],
            tmp_bytes: Some(1 << 24),
        }
    }

    #[test]
    fn reads_what_candid_writes() {
        for config in [sample(), LinkConfig::default()] {
            assert_eq!(decode(&Encode!(&config).unwrap()), Ok(config));
        }
        assert_eq!(decode(&[]), Ok(LinkConfig::default()));
    }

    #[test]
    fn skips_fields_of_a_newer_linker() {
        #[derive(CandidType)]
        enum Mode {
            Off,
            On { level: u8, name: String },
        }
        #[derive(CandidType)]
        struct Newer {
            version: u16,
            args: Vec<String>,
            env: Vec<(String, String)>,
            quota_bytes: Option<u64>,
            preopens: Vec<Preopen>,
            tmp_bytes: Option<u64>,
            sockets: Vec<(String, Option<candid::Nat>)>,
            mode: Mode,
            other: Mode,
        }
        let LinkConfig {
            version,
            args,
            env,
            quota_bytes,
            preopens,
            tmp_bytes,
        } = sample();
        let newer = Newer {
            version,
            args,
            env,
            quota_bytes,
            preopens,
            tmp_bytes,
            sockets: vec![("a".into(), Some(candid::Nat::from(1_u64 << 50)))],
            mode: Mode::On {
                level: 3,
                name: "x".into(),
            },
            other: Mode::Off,
        };
        assert_eq!(decode(&Encode!(&newer).unwrap()), Ok(sample()));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let good = Encode!(&sample()).unwrap();
        for len in 1..good.len() {
            assert!(decode(&good[..len]).is_err(), "cut to {len} bytes");
        }
        for index in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[index] = value;
                let _ = decode(&bad);
            }
        }
    }
}
