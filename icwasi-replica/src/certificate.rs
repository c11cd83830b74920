//! Keys of the single (root) subnet and its single node, and what they sign.
//!
//! The replica is one root subnet: certificates carry no delegation and are signed by the root key
//! itself. The node key signs query responses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use candid::Principal;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use ic_certification::hash_tree::Hash;
use ic_certification::{Certificate, HashTree};
use ic_transport_types::{NodeSignature, QueryResponse, RequestId};
use ic_verify_bls_signature::{PrivateKey as BlsKey, PublicKey as BlsPublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::executor::Shared;
use crate::state_tree::{self, CanisterView};

/// DER prefix of a BLS12-381 public key in G2 as the IC writes it; 96 compressed bytes follow.
const ROOT_KEY_DER_PREFIX: [u8; 37] = [
    0x30, 0x81, 0x82, 0x30, 0x1d, 0x06, 0x0d, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xdc, 0x7c, 0x05,
    0x03, 0x01, 0x02, 0x01, 0x06, 0x0c, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xdc, 0x7c, 0x05, 0x03,
    0x02, 0x01, 0x03, 0x61, 0x00,
];
const STATE_ROOT_DOMAIN: &[u8] = b"\x0Dic-state-root";

/// The secrets, as they are kept in a state directory.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretKeys {
    /// 32 bytes: the BLS secret scalar.
    #[serde(with = "serde_bytes")]
    pub root: Vec<u8>,
    /// 32 bytes: the Ed25519 seed of the node.
    #[serde(with = "serde_bytes")]
    pub node: Vec<u8>,
}

/// Why stored keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The root key is not a valid BLS12-381 scalar of 32 bytes.
    #[error("the stored root key is not a BLS12-381 secret key")]
    Root,
    /// The node key is not an Ed25519 seed of 32 bytes.
    #[error("the stored node key is not an Ed25519 secret key")]
    Node,
}

impl SecretKeys {
    /// Keys that follow from `seed` alone.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let root = loop {
            let mut bytes = [0u8; 32];
            rng.fill_bytes(&mut bytes);
            // Keep it below 2^254, which is below the group order; zero has no chance to appear twice.
            bytes[0] &= 0x3f;
            if BlsKey::deserialize(&bytes).is_ok() {
                break bytes.to_vec();
            }
        };
        let mut node = vec![0u8; 32];
        rng.fill_bytes(&mut node);
        Self { root, node }
    }
}

/// The replica's identity: signs state certificates and query responses.
pub struct Keys {
    root: BlsKey,
    root_der: Vec<u8>,
    node: ic_ed25519::PrivateKey,
    node_der: Vec<u8>,
    subnet_id: Principal,
    node_id: Principal,
}

impl Keys {
    /// Takes the secrets into use.
    pub fn new(secrets: &SecretKeys) -> Result<Self, KeyError> {
        let root = BlsKey::deserialize(&secrets.root).map_err(|_| KeyError::Root)?;
        let seed: [u8; 32] = secrets
            .node
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::Node)?;
        let node = ic_ed25519::PrivateKey::deserialize_raw_32(&seed);
        let public: BlsPublicKey = root.public_key();
        let mut root_der = ROOT_KEY_DER_PREFIX.to_vec();
        root_der.extend_from_slice(&public.serialize());
        let node_der = node.public_key().serialize_rfc8410_der();
        Ok(Self {
            subnet_id: Principal::self_authenticating(&root_der),
            node_id: Principal::self_authenticating(&node_der),
            root,
            root_der,
            node,
            node_der,
        })
    }

    /// The root public key, DER, 133 bytes: what clients pin.
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// The root public key without its DER prefix, 96 bytes.
    pub fn root_raw(&self) -> &[u8] {
        &self.root_der[ROOT_KEY_DER_PREFIX.len()..]
    }

    /// The node's Ed25519 public key, DER, 44 bytes.
    pub fn node_der(&self) -> &[u8] {
        &self.node_der
    }

    /// The subnet's id, derived from the root key.
    pub fn subnet_id(&self) -> Principal {
        self.subnet_id
    }

    /// The node's id, derived from its key.
    pub fn node_id(&self) -> Principal {
        self.node_id
    }

    /// Signs the root hash of `tree`; returns the certificate as tagged CBOR. Costs one BLS
    /// signature (about a millisecond).
    pub fn certify(&self, tree: HashTree) -> Vec<u8> {
        let signature = self.sign_root(&tree.digest());
        self.certificate(tree, &signature)
    }

    /// The root key's signature over a root hash.
    pub fn sign_root(&self, digest: &Hash) -> Vec<u8> {
        let mut message = STATE_ROOT_DOMAIN.to_vec();
        message.extend_from_slice(digest);
        let signature: Signature = self.root.sign(&message);
        signature.serialize().to_vec()
    }

    /// A certificate as tagged CBOR; `signature` is over the root hash of `tree`, whatever of it
    /// was pruned.
    pub fn certificate(&self, tree: HashTree, signature: &[u8]) -> Vec<u8> {
        crate::http::cbor::encode(&Certificate {
            tree,
            signature: signature.to_vec(),
            delegation: None,
        })
    }

    /// Adds the node's signature over `response` for the request `id` at `timestamp`.
    pub fn sign_query(&self, response: &mut QueryResponse, id: RequestId, timestamp: u64) {
        let signature = self
            .node
            .sign_message(&response.signable(id, timestamp))
            .to_vec();
        let entry = NodeSignature {
            timestamp,
            signature,
            identity: self.node_id,
        };
        match response {
            QueryResponse::Replied { signatures, .. }
            | QueryResponse::Rejected { signatures, .. } => *signatures = vec![entry],
        }
    }
}

/// Certificates for the data that canisters certify, as their queries get them.
///
/// On the IC they are as old as the last round; here they may be a second old, so that not every
/// query costs a signature.
pub struct DataCertificates {
    shared: Arc<Shared>,
    latest: Mutex<HashMap<Principal, DataCertificate>>,
}

struct DataCertificate {
    data: Vec<u8>,
    made: u64,
    bytes: Vec<u8>,
}

/// How long a certificate is given out again.
const DATA_CERTIFICATE_NANOS: u64 = 1_000_000_000;

impl DataCertificates {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            latest: Mutex::default(),
        }
    }

    /// The certificate for `data` of the canister `id`, as tagged CBOR.
    pub fn get(&self, id: &Principal, data: &[u8]) -> Vec<u8> {
        let now = self.shared.clock.now();
        let mut latest = self.latest.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(held) = latest.get(id)
            && held.data == data
            && now.saturating_sub(held.made) < DATA_CERTIFICATE_NANOS
        {
            return held.bytes.clone();
        }
        let mut tree = state_tree::with_time(now);
        let view = CanisterView {
            certified_data: Some(data.to_vec()),
            ..CanisterView::default()
        };
        state_tree::add_canister(&mut tree, *id, Some(&view));
        let bytes = self.shared.keys.certify(tree.to_hash_tree());
        latest.retain(|_, held| now.saturating_sub(held.made) < DATA_CERTIFICATE_NANOS);
        let certificate = DataCertificate {
            data: data.to_vec(),
            made: now,
            bytes: bytes.clone(),
        };
        latest.insert(*id, certificate);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_certification::hash_tree::{label, leaf};

    #[test]
    fn certificate_verifies_under_the_root_key_and_no_other() {
        let keys = Keys::new(&SecretKeys::from_seed([7; 32])).expect("fresh keys are valid");
        let other = Keys::new(&SecretKeys::from_seed([8; 32])).expect("fresh keys are valid");
        let tree: HashTree = label("time", leaf(vec![1u8]));
        let cbor = keys.certify(tree);
        let certificate: Certificate = serde_cbor::from_slice(&cbor).expect("certificates decode");
        let mut message = STATE_ROOT_DOMAIN.to_vec();
        message.extend_from_slice(&certificate.tree.digest());
        let verify = |key: &Keys| {
            ic_verify_bls_signature::verify_bls_signature(
                &certificate.signature,
                &message,
                key.root_raw(),
            )
        };
        assert!(verify(&keys).is_ok());
        assert!(verify(&other).is_err());
        assert_eq!(keys.root_der().len(), 133);
        assert_eq!(keys.node_der().len(), 44);
    }
}
