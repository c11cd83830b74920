//! Signatures of users: one key, or a chain of delegations that ends in one.

use candid::Principal;
use ic_transport_types::{DelegationPermissions, SignedDelegation};

use super::webauthn;

/// Longest chain of delegations.
pub const MAX_DELEGATIONS: usize = 20;
/// Most canisters that one delegation may be restricted to.
pub const MAX_TARGETS: usize = 1_000;

/// DER of an Ed25519 key up to the 32 key bytes (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// `id-ecPublicKey` as a DER object identifier.
const OID_EC: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
/// The IC's object identifier of canister signatures, 1.3.6.1.4.1.56387.1.2.
const OID_CANISTER: [u8; 12] = [
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x02,
];
/// The IC's object identifier of COSE keys (WebAuthn), 1.3.6.1.4.1.56387.1.1.
const OID_COSE: [u8; 12] = [
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x01,
];

/// Why a request is not believed to come from its sender.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// The anonymous sender must not sign.
    #[error("Invalid request: the anonymous sender must not carry a public key or a signature")]
    AnonymousSigned,
    /// A sender other than the anonymous one must sign.
    #[error("Missing signature from user: {0}")]
    Missing(Principal),
    /// The key is not the sender's.
    #[error("Invalid public key: sender {sender} does not match the key's principal {key}")]
    WrongSender {
        /// The sender that the request names.
        sender: Principal,
        /// The principal of the key.
        key: Principal,
    },
    /// The key can't be read.
    #[error("Invalid public key: {0}")]
    Key(String),
    /// The signature is not one of this key over this message.
    #[error("Invalid signature: {0}")]
    Signature(String),
    /// A chain of delegations that breaks a rule.
    #[error("Invalid delegation: {0}")]
    Delegation(String),
    /// A delegation has run out.
    #[error("Invalid delegation expiry: delegation expired at {expiration}, the time is {now}")]
    DelegationExpired {
        /// Nanoseconds.
        expiration: u64,
        /// Nanoseconds.
        now: u64,
    },
}

/// What a request may reach: the intersection of its delegations' targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    targets: Option<Vec<Principal>>,
}

impl Scope {
    /// Whether a request to `canister` is allowed.
    pub fn allows(&self, canister: &Principal) -> bool {
        self.targets
            .as_ref()
            .is_none_or(|targets| targets.contains(canister))
    }

    fn restrict(&mut self, targets: &[Principal]) {
        self.targets = Some(match self.targets.take() {
            None => targets.to_vec(),
            Some(held) => held.into_iter().filter(|id| targets.contains(id)).collect(),
        });
    }
}

/// The signature part of an envelope.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// DER key of the sender.
    pub public_key: Option<&'a [u8]>,
    /// Signature by the last key of the chain.
    pub signature: Option<&'a [u8]>,
    /// From the sender's key to the signing one.
    pub delegations: &'a [SignedDelegation],
}

/// Checks that `sender` signed `message` (directly, or through delegations valid at `now`).
///
/// `update` tells that the request changes state: a delegation for queries is not enough then.
/// `root_key` (96 bytes) is the key under which canister signatures are checked.
pub fn authenticate(
    sender: Principal,
    message: &[u8],
    proof: Proof<'_>,
    update: bool,
    now: u64,
    root_key: &[u8],
) -> Result<Scope, AuthError> {
    if sender == Principal::anonymous() {
        let unsigned =
            proof.public_key.is_none() && proof.signature.is_none() && proof.delegations.is_empty();
        return if unsigned {
            Ok(Scope::default())
        } else {
            Err(AuthError::AnonymousSigned)
        };
    }
    let (Some(key), Some(signature)) = (proof.public_key, proof.signature) else {
        return Err(AuthError::Missing(sender));
    };
    let owner = Principal::self_authenticating(key);
    if owner != sender {
        return Err(AuthError::WrongSender { sender, key: owner });
    }
    let (signer, scope) = follow(key, proof.delegations, update, now, root_key)?;
    verify(&signer, message, signature, root_key)?;
    Ok(scope)
}

/// Walks the chain of delegations; returns the key that must have signed the request.
fn follow(
    first: &[u8],
    chain: &[SignedDelegation],
    update: bool,
    now: u64,
    root_key: &[u8],
) -> Result<(Vec<u8>, Scope), AuthError> {
    if chain.len() > MAX_DELEGATIONS {
        let text = format!(
            "chain of {} delegations, at most {MAX_DELEGATIONS}",
            chain.len()
        );
        return Err(AuthError::Delegation(text));
    }
    let mut scope = Scope::default();
    let mut seen = vec![first.to_vec()];
    for signed in chain {
        let delegation = &signed.delegation;
        let signer = seen.last().expect("it starts with one key");
        verify(signer, &delegation.signable(), &signed.signature, root_key)?;
        if delegation.expiration < now {
            return Err(AuthError::DelegationExpired {
                expiration: delegation.expiration,
                now,
            });
        }
        if let Some(targets) = &delegation.targets {
            if targets.len() > MAX_TARGETS {
                let text = format!("{} targets, at most {MAX_TARGETS}", targets.len());
                return Err(AuthError::Delegation(text));
            }
            scope.restrict(targets);
        }
        if update && delegation.permissions == Some(DelegationPermissions::Queries) {
            let text = "it permits queries only, this request is a call".to_string();
            return Err(AuthError::Delegation(text));
        }
        if seen.contains(&delegation.pubkey) {
            return Err(AuthError::Delegation(
                "the chain contains a cycle".to_string(),
            ));
        }
        seen.push(delegation.pubkey.clone());
    }
    Ok((seen.pop().expect("it has at least one key"), scope))
}

/// Verifies `signature` over `message` with a DER key of any kind that the IC knows.
pub fn verify(
    der: &[u8],
    message: &[u8],
    signature: &[u8],
    root_key: &[u8],
) -> Result<(), AuthError> {
    if der.starts_with(&ED25519_PREFIX) {
        let key = ic_ed25519::PublicKey::deserialize_rfc8410_der(der)
            .map_err(|e| AuthError::Key(format!("Ed25519: {e:?}")))?;
        return key
            .verify_signature(message, signature)
            .map_err(|e| AuthError::Signature(format!("Ed25519: {e:?}")));
    }
    let Some((algorithm, key)) = subject_public_key_info(der) else {
        return Err(AuthError::Key("not a DER SubjectPublicKeyInfo".to_string()));
    };
    if algorithm.starts_with(&OID_EC) {
        return match &algorithm[OID_EC.len()..] {
            curve if curve == OID_P256 => verify_p256(der, message, signature),
            curve if curve == OID_SECP256K1 => verify_secp256k1(der, message, signature),
            _ => Err(AuthError::Key(
                "only the curves P-256 and secp256k1 are known".to_string(),
            )),
        };
    }
    if algorithm.starts_with(&OID_CANISTER) {
        return ic_signature_verification::verify_canister_sig(message, signature, der, root_key)
            .map_err(|e| AuthError::Signature(format!("canister signature: {e}")));
    }
    if algorithm.starts_with(&OID_COSE) {
        return webauthn::verify(key, message, signature);
    }
    Err(AuthError::Key("unknown algorithm".to_string()))
}

/// The content of the `AlgorithmIdentifier` of a SubjectPublicKeyInfo, and the bytes of the key.
fn subject_public_key_info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, &[]) = der_element(der, 0x30)? else {
        return None;
    };
    let (algorithm, rest) = der_element(body, 0x30)?;
    let (bits, &[]) = der_element(rest, 0x03)? else {
        return None;
    };
    // The first byte tells how many bits of the last one are unused.
    let (&0, key) = bits.split_first()? else {
        return None;
    };
    Some((algorithm, key))
}

/// The content of the DER element at the start of `der`, which must have `tag` and a length below
/// 64 KiB, and what follows it.
fn der_element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (
            usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])),
            rest.get(2..)?,
        ),
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn verify_p256(der: &[u8], message: &[u8], signature: &[u8]) -> Result<(), AuthError> {
    use p256::ecdsa::signature::Verifier;
    use p256::pkcs8::DecodePublicKey;
    let key = p256::ecdsa::VerifyingKey::from_public_key_der(der)
        .map_err(|e| AuthError::Key(format!("ECDSA P-256: {e}")))?;
    let signature = p256::ecdsa::Signature::from_slice(signature)
        .map_err(|e| AuthError::Signature(format!("ECDSA P-256: {e}")))?;
    key.verify(message, &signature)
        .map_err(|_| AuthError::Signature("ECDSA P-256 signature could not be verified".into()))
}

fn verify_secp256k1(der: &[u8], message: &[u8], signature: &[u8]) -> Result<(), AuthError> {
    use k256::ecdsa::signature::Verifier;
    use k256::pkcs8::DecodePublicKey;
    let key = k256::ecdsa::VerifyingKey::from_public_key_der(der)
        .map_err(|e| AuthError::Key(format!("ECDSA secp256k1: {e}")))?;
    let signature = k256::ecdsa::Signature::from_slice(signature)
        .map_err(|e| AuthError::Signature(format!("ECDSA secp256k1: {e}")))?;
    // The crate verifies only the lower half of `s`; the IC takes both.
    let signature = signature.normalize_s().unwrap_or(signature);
    key.verify(message, &signature)
        .map_err(|_| AuthError::Signature("ECDSA secp256k1 signature could not be verified".into()))
}
