//! The link configuration that the library finds in the module.

use icwasi_types::{LINK_CONFIG_VERSION, LinkConfig};

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
    };
    candid::encode_one(&config).map_err(|error| LinkError::Option {
        option: "--env",
        message: error.to_string(),
    })
}
