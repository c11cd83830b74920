//! What can go wrong between this program and a method of a canister.

use candid::Principal;
use ic_agent::AgentError;
use ic_agent::agent::RejectCode;
use ic_agent::agent_error::TransportError;
use icwasi_types::{AdminError, Range};
use thiserror::Error;

/// Whether a request that failed may have been executed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It never reached a canister: sending it again can't do anything twice.
    No,
    /// Only the reply is missing: the canister may have acted.
    Maybe,
}

/// Why a call of a method gave no result.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// The canister's file system or upload staging refused.
    #[error("{}", describe(.error))]
    Admin {
        /// The method that was called.
        method: String,
        /// Its answer.
        error: AdminError,
    },
    /// The caller may not call the method.
    #[error(
        "{caller} may not do this with the files of {canister}: it is not a controller, and has \
         no role that allows it. Use --identity or --pem to act as somebody else, or let a \
         controller grant a role (icwasi access grant {canister} {caller} reader|writer|admin)"
    )]
    NotAuthorized {
        /// Who called.
        caller: Principal,
        /// Whom.
        canister: Principal,
    },
    /// The network has no such canister.
    #[error(
        "canister {canister} does not exist on {network}. \
         Check --network, or create it with `icwasi deploy`"
    )]
    CanisterNotFound {
        /// The id.
        canister: Principal,
        /// The network's URL.
        network: String,
    },
    /// The canister is empty.
    #[error("canister {canister} has no code installed: install it first (icwasi deploy)")]
    NoModule {
        /// The id.
        canister: Principal,
    },
    /// The canister has no such method.
    #[error("canister {canister} has no method {method}{}", admin_hint(.method))]
    NoMethod {
        /// The id.
        canister: Principal,
        /// The method.
        method: String,
    },
    /// The canister is stopped or stopping.
    #[error("canister {canister} is stopped: start it first (dfx canister start {canister})")]
    Stopped {
        /// The id.
        canister: Principal,
    },
    /// Out of cycles.
    #[error("canister {canister} is out of cycles: top it up. The network says: {message}")]
    OutOfCycles {
        /// The id.
        canister: Principal,
        /// The network's words.
        message: String,
    },
    /// Any other rejection.
    #[error("{method} of {canister} was rejected ({code}): {message}")]
    Rejected {
        /// The id.
        canister: Principal,
        /// The method.
        method: String,
        /// Error code, or reject code where the network gave none.
        code: String,
        /// The network's or the canister's words.
        message: String,
        /// The network asks to try again.
        transient: bool,
    },
    /// Nobody answers.
    #[error(
        "the network at {network} cannot be reached: {message}. \
         Is it running (icwasi replica start), and is --network right?"
    )]
    Unreachable {
        /// The URL.
        network: String,
        /// What the connection said.
        message: String,
    },
    /// The connection broke, timed out or the network is overloaded.
    #[error("no answer to {method} from {network}: {message}")]
    Transport {
        /// The URL.
        network: String,
        /// The method.
        method: String,
        /// What happened.
        message: String,
        /// Whether it may have been executed.
        sent: Sent,
    },
    /// Signatures do not fit to the network's root key.
    #[error(
        "the answer of {network} to {method} is not signed by the expected network: {message}. \
         Was the local network restarted with other keys, or is --root-key wrong?"
    )]
    NotTrusted {
        /// The URL.
        network: String,
        /// The method.
        method: String,
        /// What failed.
        message: String,
    },
    /// The clocks differ.
    #[error("{network} refused the time stamp of {method}: {message}. Check this computer's clock")]
    Clock {
        /// The URL.
        network: String,
        /// The method.
        method: String,
        /// The network's words.
        message: String,
    },
    /// The reply is no candid of the expected type.
    #[error(
        "{canister} answered {method} in a form this version does not understand: {message}. \
         Was it linked with another version of icwasi?"
    )]
    Decode {
        /// The id.
        canister: Principal,
        /// The method.
        method: String,
        /// What the decoder said.
        message: String,
    },
    /// The canister broke the contract of its interface.
    #[error("{method} gave an answer that cannot be right: {message}")]
    BadReply {
        /// The method.
        method: String,
        /// What is wrong with it.
        message: String,
    },
    /// The canister changed its files between all attempts at a part of a check.
    #[error(
        "the canister used its file system between the steps of part {part} each time: check it \
         when it has less to do, or check a downloaded snapshot (icwasi image fsck)"
    )]
    Busy {
        /// From 1 on.
        part: u32,
    },
    /// Anything else, such as a failure to sign.
    #[error("{method} failed: {message}")]
    Other {
        /// The method.
        method: String,
        /// What happened.
        message: String,
    },
}

impl RemoteError {
    /// True if the same request may succeed when it is sent again later.
    pub fn is_transient(&self) -> bool {
        match self {
            RemoteError::Transport { .. } | RemoteError::Unreachable { .. } => true,
            RemoteError::Rejected { transient, .. } => *transient,
            _ => false,
        }
    }

    /// Whether the request may have been executed in spite of the error.
    pub fn sent(&self) -> Sent {
        match self {
            RemoteError::Transport { sent, .. } => *sent,
            _ => Sent::No,
        }
    }

    /// The canister's own answer, if that is what this error is.
    pub fn admin(&self) -> Option<&AdminError> {
        match self {
            RemoteError::Admin { error, .. } => Some(error),
            _ => None,
        }
    }

    /// True if nothing exists at the path that was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self.admin(), Some(AdminError::NotFound(_)))
    }

    /// A stable word for machine-readable output.
    pub fn kind(&self) -> &'static str {
        match self {
            RemoteError::Admin { error, .. } => admin_kind(error),
            RemoteError::NotAuthorized { .. } => "not_authorized",
            RemoteError::CanisterNotFound { .. } => "canister_not_found",
            RemoteError::NoModule { .. } => "no_module",
            RemoteError::NoMethod { .. } => "no_method",
            RemoteError::Stopped { .. } => "stopped",
            RemoteError::OutOfCycles { .. } => "out_of_cycles",
            RemoteError::Rejected { .. } => "rejected",
            RemoteError::Unreachable { .. } => "unreachable",
            RemoteError::Transport { .. } => "transport",
            RemoteError::NotTrusted { .. } => "not_trusted",
            RemoteError::Clock { .. } => "clock",
            RemoteError::Decode { .. } => "decode",
            RemoteError::BadReply { .. } => "bad_reply",
            RemoteError::Busy { .. } => "busy",
            RemoteError::Other { .. } => "other",
        }
    }

    /// Sorts an agent's error; `caller`, `canister`, `method` and `network` say what was tried.
    pub fn from_agent(
        error: AgentError,
        caller: Principal,
        canister: Principal,
        method: &str,
        network: &str,
    ) -> RemoteError {
        let method = method.to_owned();
        let network = network.to_owned();
        let transport = |message: String, sent| RemoteError::Transport {
            network: network.clone(),
            method: method.clone(),
            message,
            sent,
        };
        match error {
            AgentError::CertifiedReject { reject, .. }
            | AgentError::UncertifiedReject { reject, .. } => {
                from_reject(reject, caller, canister, method, network)
            }
            AgentError::TransportError(TransportError::Reqwest(e)) => {
                let message = innermost(&e);
                if e.is_connect() {
                    RemoteError::Unreachable { network, message }
                } else {
                    transport(message, Sent::Maybe)
                }
            }
            AgentError::TransportError(TransportError::Generic(m)) => transport(m, Sent::Maybe),
            AgentError::TimeoutWaitingForResponse() => {
                transport("timed out".to_owned(), Sent::Maybe)
            }
            AgentError::HttpError(payload) => {
                let text = String::from_utf8_lossy(&payload.content).trim().to_owned();
                let message = format!("HTTP {}: {}", payload.status, text);
                match payload.status {
                    429 | 503 => transport(message, Sent::No),
                    500 | 502 | 504 => transport(message, Sent::Maybe),
                    400 if text.contains("ingress expiry") || text.contains("ingress_expiry") => {
                        RemoteError::Clock {
                            network,
                            method,
                            message: text,
                        }
                    }
                    _ => RemoteError::Other { method, message },
                }
            }
            e @ (AgentError::CertificateVerificationFailed()
            | AgentError::QuerySignatureVerificationFailed
            | AgentError::CertificateNotAuthorized()
            | AgentError::MissingSignature
            | AgentError::MalformedSignature
            | AgentError::MalformedPublicKey
            | AgentError::TooManySignatures { .. }
            | AgentError::CertificateHasTooManyDelegations) => RemoteError::NotTrusted {
                network,
                method,
                message: e.to_string(),
            },
            AgentError::CertificateOutdated(_) => RemoteError::Clock {
                network,
                method,
                message: "its certificate is older than allowed".to_owned(),
            },
            e => RemoteError::Other {
                method,
                message: e.to_string(),
            },
        }
    }
}

fn from_reject(
    reject: ic_agent::agent::RejectResponse,
    caller: Principal,
    canister: Principal,
    method: String,
    network: String,
) -> RemoteError {
    let message = reject.reject_message;
    let is_admin = method.starts_with(icwasi_types::methods::PREFIX);
    match reject.error_code.as_deref() {
        Some("IC0301") => RemoteError::CanisterNotFound { canister, network },
        Some("IC0537") => RemoteError::NoModule { canister },
        Some("IC0536") => RemoteError::NoMethod { canister, method },
        Some("IC0508" | "IC0509") => RemoteError::Stopped { canister },
        Some("IC0207") => RemoteError::OutOfCycles { canister, message },
        // `inspect_message` of the canister did not accept it: for an admin method that means
        // the caller.
        Some("IC0406") if is_admin => RemoteError::NotAuthorized { caller, canister },
        code => {
            let transient = reject.reject_code == RejectCode::SysTransient;
            let code = code.map_or_else(|| format!("{:?}", reject.reject_code), str::to_owned);
            RemoteError::Rejected {
                canister,
                method,
                code,
                message,
                transient,
            }
        }
    }
}

/// The last cause: reqwest's own text repeats the URL and hides the reason.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn admin_hint(method: &str) -> &'static str {
    if method.starts_with(icwasi_types::methods::PREFIX) {
        ": was it linked with `icwasi link --admin`, by this version of icwasi?"
    } else {
        ""
    }
}

fn admin_kind(error: &AdminError) -> &'static str {
    match error {
        AdminError::NotAuthorized => "not_authorized",
        AdminError::NotFound(_) => "not_found",
        AdminError::AlreadyExists(_) => "already_exists",
        AdminError::NotADirectory(_) => "not_a_directory",
        AdminError::IsADirectory(_) => "is_a_directory",
        AdminError::NotEmpty(_) => "not_empty",
        AdminError::InvalidPath { .. } => "invalid_path",
        AdminError::InvalidArgument(_) => "invalid_argument",
        AdminError::NoSpace { .. } => "no_space",
        AdminError::UploadNotFound(_) => "upload_not_found",
        AdminError::UploadFinished(_) => "upload_finished",
        AdminError::TooManyUploads(_) => "too_many_uploads",
        AdminError::ChunkOutOfRange { .. } => "chunk_out_of_range",
        AdminError::ChunkMisaligned { .. } => "chunk_misaligned",
        AdminError::ChunkConflict { .. } => "chunk_conflict",
        AdminError::UploadIncomplete { .. } => "upload_incomplete",
        AdminError::HashMismatch { .. } => "hash_mismatch",
        AdminError::Io { .. } => "io",
    }
}

/// An admin error in words, with what to do about it.
pub fn describe(error: &AdminError) -> String {
    match error {
        AdminError::NotAuthorized => "not authorised: not a controller of the canister".to_owned(),
        AdminError::NotFound(path) => format!("{path}: no such file or directory in the canister"),
        AdminError::AlreadyExists(path) => format!("{path}: exists already in the canister"),
        AdminError::NotADirectory(path) => format!("{path}: not a directory"),
        AdminError::IsADirectory(path) => format!("{path}: is a directory"),
        AdminError::NotEmpty(path) => format!("{path}: directory is not empty (use -r)"),
        AdminError::InvalidPath { path, reason } => format!("{path:?}: invalid path: {reason}"),
        AdminError::InvalidArgument(what) => format!("the canister refused an argument: {what}"),
        AdminError::NoSpace { needed, available } => format!(
            "no space left in the canister: {needed} bytes are needed, {available} are available. \
             Remove files, or link with a larger quota"
        ),
        AdminError::UploadNotFound(id) => {
            format!("upload {id} does not exist any more: push again")
        }
        AdminError::UploadFinished(id) => format!("upload {id} is finished already: push again"),
        AdminError::TooManyUploads(limit) => format!(
            "{limit} uploads are open in the canister, which is its limit: \
             finish or abort some of them"
        ),
        AdminError::ChunkOutOfRange {
            offset,
            length,
            size,
        } => format!(
            "chunk of {length} bytes at offset {offset} is outside of the file of {size} bytes"
        ),
        AdminError::ChunkMisaligned {
            offset,
            length,
            align,
        } => {
            format!("chunk of {length} bytes at offset {offset} is not aligned to {align} bytes")
        }
        AdminError::ChunkConflict { offset } => format!(
            "other bytes were sent before for offset {offset} of this upload: \
             did the local file change? Push again"
        ),
        AdminError::UploadIncomplete { missing } => {
            let bytes: u64 = missing.iter().map(|r: &Range| r.length).sum();
            format!("{bytes} bytes of the upload have not arrived: push again")
        }
        AdminError::HashMismatch { expected, actual } => format!(
            "the canister received other bytes than were announced \
             (BLAKE3 {} instead of {}): nothing was changed, push again",
            hex::encode(actual),
            hex::encode(expected)
        ),
        AdminError::Io { errno, message } => {
            format!("the canister's file system failed: {message} (WASI errno {errno})")
        }
    }
}
