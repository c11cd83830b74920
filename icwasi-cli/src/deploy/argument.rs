//! Candid text to bytes and back, with the types of the canister's interface where it is known.

use candid::types::{Function, Type, TypeInner};
use candid::{IDLArgs, TypeEnv};
use candid_parser::utils::CandidSource;
use thiserror::Error;

/// Why an argument or reply can't be translated.
#[derive(Debug, Error)]
pub enum ArgumentError {
    /// Not candid text.
    #[error("{text:?} is not a candid argument such as '(\"text\", 1)': {message}")]
    Syntax {
        /// As written.
        text: String,
        /// What the parser said.
        message: String,
    },
    /// Does not fit the interface.
    #[error("the argument does not fit {expected}: {message}")]
    Type {
        /// The types that are expected.
        expected: String,
        /// What does not fit.
        message: String,
    },
    /// The reply is not candid.
    #[error("the reply is not valid candid: {0}")]
    Reply(String),
}

/// A canister's interface, from its metadata.
pub struct Service {
    env: TypeEnv,
    actor: Type,
}

/// Parses a `candid:service` description; `None` if it is not usable.
pub fn service_of(text: &str) -> Option<Service> {
    let (env, actor) = CandidSource::Text(text).load().ok()?;
    Some(Service { env, actor: actor? })
}

impl Service {
    fn method<'a>(&'a self, name: &'a str) -> Option<&'a Function> {
        self.env.get_method(&self.actor, name).ok()
    }

    /// Whether the interface declares `name` as a query.
    pub fn is_query(&self, name: &str) -> bool {
        self.method(name).is_some_and(Function::is_query)
    }

    fn init_types(&self) -> Option<Vec<Type>> {
        match self.actor.as_ref() {
            TypeInner::Class(args, _) => Some(args.clone()),
            _ => None,
        }
    }

    fn argument_types(&self, method: Option<&str>) -> Option<Vec<Type>> {
        match method {
            Some(name) => self.method(name).map(|f| f.args.clone()),
            None => self.init_types(),
        }
    }
}

/// Encodes candid text. `method` is the one it is for, `None` the installation; without
/// `service`, or where that does not know the types, they follow from the text.
pub fn encode_argument(
    text: &str,
    service: Option<&Service>,
    method: Option<&str>,
) -> Result<Vec<u8>, ArgumentError> {
    let text = text.trim();
    let syntax = |e: candid_parser::Error| ArgumentError::Syntax {
        text: text.to_owned(),
        message: e.to_string(),
    };
    // A single value may stand without its parentheses.
    let args = match candid_parser::parse_idl_args(text) {
        Ok(args) => args,
        Err(e) => match candid_parser::parse_idl_value(text) {
            Ok(value) => IDLArgs::new(&[value]),
            Err(_) => return Err(syntax(e)),
        },
    };
    let types = service.and_then(|s| s.argument_types(method).map(|t| (s, t)));
    let (encoded, expected) = match types {
        Some((service, types)) => {
            let expected = types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            (
                args.to_bytes_with_types(&service.env, &types),
                format!("({expected})"),
            )
        }
        None => (args.to_bytes(), "candid".to_owned()),
    };
    encoded.map_err(|e| ArgumentError::Type {
        expected,
        message: e.to_string(),
    })
}

/// Decodes a reply of `method` to candid text, with names of fields if `service` knows them.
pub fn decode_reply(
    reply: &[u8],
    service: Option<&Service>,
    method: &str,
) -> Result<String, ArgumentError> {
    if let Some(service) = service
        && let Some(function) = service.method(method)
        && let Ok(args) = IDLArgs::from_bytes_with_types(reply, &service.env, &function.rets)
    {
        return Ok(args.to_string());
    }
    let args = IDLArgs::from_bytes(reply).map_err(|e| ArgumentError::Reply(e.to_string()))?;
    Ok(args.to_string())
}
