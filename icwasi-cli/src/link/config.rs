//! The link configuration that the library finds in the module.

use icwasi_types::{LINK_CONFIG_VERSION, LinkConfig, Preopen, TMP_PATH};

use super::LinkOptions;
use super::error::LinkError;

/// Candid-encodes what the options say to the library.
pub(crate) fn encode(options: &LinkOptions) -> Result<Vec<u8>, LinkError> {
    let bad = |option, message: String| Err(LinkError::Option { option, message });
    for (name, value) in &options.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return bad(
                "--env",
                format!("`{name}={value}` is not a NAME=VALUE pair without NUL"),
            );
        }
    }
    for arg in &options.args {
        if arg.contains('\0') {
            return bad("--arg", format!("{arg:?} holds a NUL"));
        }
    }
    let mut env: Vec<(String, String)> = Vec::new();
    for (name, value) in &options.env {
        // As `env NAME=VALUE` does, the last one wins.
        env.retain(|(n, _)| n != name);
        env.push((name.clone(), value.clone()));
    }
    let config = LinkConfig {
        version: LINK_CONFIG_VERSION,
        args: options.args.clone(),
        env,
        quota_bytes: options.quota,
        preopens: preopens(options)?,
        tmp_bytes: options.tmp,
    };
    candid::encode_one(&config).map_err(|error| LinkError::Option {
        option: "--env",
        message: error.to_string(),
    })
}

/// The directories of the options in plain form, and the file system on the heap if none of them
/// leads to it.
fn preopens(options: &LinkOptions) -> Result<Vec<Preopen>, LinkError> {
    let mut preopens: Vec<Preopen> = Vec::new();
    for preopen in &options.preopens {
        let bad = |message: &str| LinkError::Option {
            option: "--dir",
            message: format!("`{}`: {message}", preopen.path),
        };
        let components: Vec<&str> = preopen.components().map_err(bad)?.collect();
        let path = format!("/{}", components.join("/"));
        if preopens.iter().any(|other| other.path == path) {
            return Err(bad("it is given twice"));
        }
        let read_only = preopen.read_only;
        preopens.push(Preopen { path, read_only });
    }
    let leads_to_tmp = |p: &Preopen| p.path == "/" || p.path == TMP_PATH;
    if options.tmp.is_some() && !preopens.is_empty() && !preopens.iter().any(leads_to_tmp) {
        preopens.push(Preopen {
            path: TMP_PATH.to_owned(),
            read_only: false,
        });
    }
    Ok(preopens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preopen(path: &str, read_only: bool) -> Preopen {
        let path = path.to_owned();
        Preopen { path, read_only }
    }

    fn of(given: &[(&str, bool)], tmp: Option<u64>) -> Result<Vec<Preopen>, LinkError> {
        preopens(&LinkOptions {
            preopens: given.iter().map(|(p, ro)| preopen(p, *ro)).collect(),
            tmp,
            ..LinkOptions::default()
        })
    }

    #[test]
    fn directories_in_plain_form() {
        assert_eq!(of(&[], Some(1)).expect("none"), []);
        let found = of(&[("/data//x/", false), ("/", true)], Some(1));
        let plain = [preopen("/data/x", false), preopen("/", true)];
        assert_eq!(found.expect("two"), plain);
        let found = of(&[("/tmp/x", false)], Some(1));
        let with_tmp = [preopen("/tmp/x", false), preopen("/tmp", false)];
        assert_eq!(found.expect("two"), with_tmp);
        for bad in ["data", "", "/a/../b", "/a/./b", "/a\0"] {
            of(&[(bad, false)], None).expect_err(bad);
        }
        of(&[(&format!("/{}", "n".repeat(256)), false)], None).expect_err("too long");
        of(&[("/a", false), ("/a/", true)], None).expect_err("twice");
    }
}
