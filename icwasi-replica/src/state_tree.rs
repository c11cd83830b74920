//! The part of the certified state that a request asks for.
//!
//! Every certificate gets a small tree of its own: the requested subtrees complete, everything that
//! was not asked for left out. Within a requested subtree absence is therefore provable. Two
//! certificates of the same instant may have different root hashes; clients don't compare them.

use std::collections::BTreeMap;

use candid::Principal;
use ic_certification::HashTree;
use ic_certification::hash_tree::{Hash, empty, fork, label, leaf, pruned};

use crate::certificate::Keys;
use crate::ingress::history::{IngressEntry, IngressStatus};

/// A labelled tree before hashing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A value.
    Leaf(Vec<u8>),
    /// Children by label, in the byte order that the hash tree needs.
    Node(BTreeMap<Vec<u8>, Tree>),
}

impl Tree {
    /// An inner node without children.
    pub fn node() -> Self {
        Self::Node(BTreeMap::new())
    }

    /// Puts `tree` at `path`, making inner nodes on the way; replaces what was there.
    pub fn insert<L: AsRef<[u8]>>(&mut self, path: &[L], tree: Tree) {
        let Some((first, rest)) = path.split_first() else {
            *self = tree;
            return;
        };
        if let Self::Leaf(_) = self {
            *self = Self::node();
        }
        if let Self::Node(children) = self {
            children
                .entry(first.as_ref().to_vec())
                .or_insert_with(Self::node)
                .insert(rest, tree);
        }
    }

    /// The hash tree: labels sorted bytewise, forks balanced.
    pub fn to_hash_tree(&self) -> HashTree {
        match self {
            Self::Leaf(bytes) => leaf(bytes.clone()),
            Self::Node(children) => {
                let nodes: Vec<HashTree> = children
                    .iter()
                    .map(|(name, child)| label(name.clone(), child.to_hash_tree()))
                    .collect();
                balance(nodes)
            }
        }
    }
}

fn balance(mut nodes: Vec<HashTree>) -> HashTree {
    match nodes.len() {
        0 => empty(),
        1 => nodes.remove(0),
        n => {
            let right = nodes.split_off(n.div_ceil(2));
            fork(balance(nodes), balance(right))
        }
    }
}

/// A tree that holds `/time` only; every certificate starts with it.
pub fn with_time(nanos: u64) -> Tree {
    let mut tree = Tree::node();
    tree.insert(&[b"time"], Tree::Leaf(unsigned_leb128(nanos)));
    tree
}

/// Canister ids this replica may serve: all opaque ids of ten bytes and all others, in one range.
fn canister_ranges() -> Vec<u8> {
    let ranges = vec![(
        Principal::from_slice(&[0u8; 10]),
        Principal::from_slice(&[0xffu8; 10]),
    )];
    crate::http::cbor::encode(&ranges)
}

/// Figures under `/subnet/<id>/metrics`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubnetFigures {
    /// Canisters that exist.
    pub canisters: u64,
    /// Bytes of state that they hold.
    pub state_bytes: u64,
    /// Update messages executed since the replica started.
    pub updates: u64,
}

/// Adds `/subnet` and `/canister_ranges`.
pub fn add_subnet(tree: &mut Tree, keys: &Keys, figures: SubnetFigures) {
    let subnet = keys.subnet_id();
    let id = subnet.as_slice();
    let ranges = canister_ranges();
    tree.insert(
        &[b"subnet", id, b"public_key"],
        Tree::Leaf(keys.root_der().to_vec()),
    );
    tree.insert(
        &[b"subnet", id, b"type"],
        Tree::Leaf(b"application".to_vec()),
    );
    tree.insert(
        &[b"subnet", id, b"canister_ranges"],
        Tree::Leaf(ranges.clone()),
    );
    tree.insert(&[b"subnet", id, b"metrics"], Tree::Leaf(metrics(figures)));
    tree.insert(
        &[
            b"subnet",
            id,
            b"node",
            keys.node_id().as_slice(),
            b"public_key",
        ],
        Tree::Leaf(keys.node_der().to_vec()),
    );
    tree.insert(&[b"canister_ranges", id, &[0u8; 10]], Tree::Leaf(ranges));
}

fn metrics(figures: SubnetFigures) -> Vec<u8> {
    crate::http::cbor::encode(&ic_transport_types::SubnetMetrics {
        num_canisters: figures.canisters,
        canister_state_bytes: figures.state_bytes,
        consumed_cycles_total: 0,
        update_transactions_total: figures.updates,
    })
}

/// Adds `/request_status/<id>`; without an entry the empty `/request_status` proves its absence.
pub fn add_request_status(tree: &mut Tree, id: &[u8; 32], entry: Option<&IngressEntry>) {
    let Some(entry) = entry else {
        tree.insert(&[b"request_status"], Tree::node());
        return;
    };
    tree.insert(&[b"request_status", &id[..]], status_tree(entry));
}

/// What is below `/request_status/<id>`.
fn status_tree(entry: &IngressEntry) -> Tree {
    let mut tree = Tree::node();
    let mut put = |name: &str, value: Vec<u8>| tree.insert(&[name], Tree::Leaf(value));
    match &entry.status {
        IngressStatus::Received => put("status", b"received".to_vec()),
        IngressStatus::Processing => put("status", b"processing".to_vec()),
        IngressStatus::Done => put("status", b"done".to_vec()),
        IngressStatus::Replied(reply) => {
            put("status", b"replied".to_vec());
            put("reply", reply.clone());
        }
        IngressStatus::Rejected(reject) => {
            put("status", b"rejected".to_vec());
            put("reject_code", unsigned_leb128(reject.code));
            put("reject_message", reject.message.clone().into_bytes());
            put("error_code", reject.error_code.clone().into_bytes());
        }
    }
    tree
}

/// A tree of outcomes of calls, of which each client gets its own part.
pub struct OutcomeTree {
    time: HashTree,
    /// By request id, ascending: `id` and what is below it.
    outcomes: Vec<([u8; 32], HashTree)>,
    root: Digests,
}

/// The hashes of a balanced tree over the outcomes, computed once.
struct Digests {
    own: Hash,
    parts: Option<Box<(Digests, Digests)>>,
}

impl OutcomeTree {
    /// `/time`, and `/request_status/<id>` for each of `outcomes`, of which there must be one.
    pub fn new<'a>(now: u64, outcomes: impl Iterator<Item = ([u8; 32], &'a IngressEntry)>) -> Self {
        let mut outcomes: Vec<_> = outcomes
            .map(|(id, entry)| (id, label(id, status_tree(entry).to_hash_tree())))
            .collect();
        outcomes.sort_by_key(|(id, _)| *id);
        // The same request may have been sent twice.
        outcomes.dedup_by_key(|(id, _)| *id);
        Self {
            time: with_time(now).to_hash_tree(),
            root: Digests::new(&outcomes),
            outcomes,
        }
    }

    /// The root hash.
    pub fn digest(&self) -> Hash {
        self.with(pruned(self.root.own)).digest()
    }

    /// The tree with everything pruned but `/time` and what belongs to `id`; `None` if it is not
    /// in the tree.
    pub fn witness(&self, id: &[u8; 32]) -> Option<HashTree> {
        let at = self
            .outcomes
            .binary_search_by_key(id, |(held, _)| *held)
            .ok()?;
        Some(self.with(self.root.witness(&self.outcomes, at)))
    }

    fn with(&self, outcomes: HashTree) -> HashTree {
        // In the order of their labels.
        fork(label("request_status", outcomes), self.time.clone())
    }
}

impl Digests {
    fn new(outcomes: &[([u8; 32], HashTree)]) -> Self {
        if let [(_, only)] = outcomes {
            return Self {
                own: only.digest(),
                parts: None,
            };
        }
        let (left, right) = outcomes.split_at(outcomes.len().div_ceil(2));
        let (left, right) = (Self::new(left), Self::new(right));
        Self {
            own: fork::<Vec<u8>>(pruned(left.own), pruned(right.own)).digest(),
            parts: Some(Box::new((left, right))),
        }
    }

    fn witness(&self, outcomes: &[([u8; 32], HashTree)], at: usize) -> HashTree {
        let Some((left, right)) = self.parts.as_deref() else {
            return outcomes[0].1.clone();
        };
        let middle = outcomes.len().div_ceil(2);
        let (first, second) = outcomes.split_at(middle);
        if at < middle {
            fork(left.witness(first, at), pruned(right.own))
        } else {
            fork(pruned(left.own), right.witness(second, at - middle))
        }
    }
}

/// What `/canister/<id>` certifies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CanisterView {
    /// Hash of the installed module.
    pub module_hash: Option<[u8; 32]>,
    /// Controllers, in the order they were set.
    pub controllers: Vec<Principal>,
    /// The 32 bytes (or fewer) that the canister certified; only in data certificates.
    pub certified_data: Option<Vec<u8>>,
    /// Metadata sections that were asked for and may be seen.
    pub metadata: BTreeMap<String, Vec<u8>>,
}

/// Adds `/canister/<id>`; without a view the empty `/canister` proves its absence.
pub fn add_canister(tree: &mut Tree, id: Principal, view: Option<&CanisterView>) {
    let Some(view) = view else {
        tree.insert(&[b"canister"], Tree::node());
        return;
    };
    let mut node = Tree::node();
    if let Some(hash) = view.module_hash {
        node.insert(&[b"module_hash"], Tree::Leaf(hash.to_vec()));
    }
    if let Some(data) = &view.certified_data {
        node.insert(&[b"certified_data"], Tree::Leaf(data.clone()));
    }
    node.insert(
        &[b"controllers"],
        Tree::Leaf(crate::http::cbor::encode(&view.controllers)),
    );
    for (name, bytes) in &view.metadata {
        node.insert(&[b"metadata", name.as_bytes()], Tree::Leaf(bytes.clone()));
    }
    tree.insert(&[b"canister", id.as_slice()], node);
}

/// Unsigned LEB128, the encoding of numbers in the state tree.
pub fn unsigned_leb128(value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    leb128::write::unsigned(&mut out, value).expect("writing to a Vec does not fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_certification::LookupResult;

    #[test]
    fn lookups_find_what_was_put_in_and_prove_what_was_not() {
        let mut tree = with_time(300);
        let id = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let view = CanisterView {
            controllers: vec![id],
            ..CanisterView::default()
        };
        add_canister(&mut tree, id, Some(&view));
        add_request_status(&mut tree, &[1; 32], None);
        let hashed = tree.to_hash_tree();
        assert_eq!(
            hashed.lookup_path([b"time"]),
            LookupResult::Found(&[0xac, 0x02])
        );
        let path: [&[u8]; 3] = [b"canister", id.as_slice(), b"module_hash"];
        assert_eq!(hashed.lookup_path(path), LookupResult::Absent);
        let path: [&[u8]; 3] = [b"canister", id.as_slice(), b"controllers"];
        assert!(matches!(hashed.lookup_path(path), LookupResult::Found(_)));
        let path: [&[u8]; 3] = [b"request_status", &[1; 32], b"status"];
        assert_eq!(hashed.lookup_path(path), LookupResult::Absent);
    }

    #[test]
    fn each_client_gets_its_own_part_of_one_signed_tree() {
        let entry = |n: u8| IngressEntry {
            sender: Principal::anonymous(),
            receiver: Principal::anonymous(),
            effective: Principal::anonymous(),
            expiry: 0,
            changed: 0,
            status: IngressStatus::Replied(vec![n]),
        };
        for count in [1u8, 2, 3, 7, 8, 20] {
            // Not in order, and one of them twice.
            let entries: Vec<_> = (0..count)
                .rev()
                .chain([0])
                .map(|n| ([n; 32], entry(n)))
                .collect();
            let tree = OutcomeTree::new(300, entries.iter().map(|(id, e)| (*id, e)));
            for n in 0..count {
                let witness = tree.witness(&[n; 32]).expect("it is in the tree");
                assert_eq!(witness.digest(), tree.digest(), "{n} of {count}");
                let reply = |id: u8| {
                    let path: [&[u8]; 3] = [b"request_status", &[id; 32], b"reply"];
                    witness.lookup_path(path)
                };
                assert_eq!(reply(n), LookupResult::Found(&[n]));
                for other in (0..count).filter(|other| *other != n) {
                    assert_eq!(reply(other), LookupResult::Unknown, "not revealed");
                }
                let time = LookupResult::Found(&[0xac, 0x02]);
                assert_eq!(witness.lookup_path([b"time"]), time);
            }
            assert!(tree.witness(&[99; 32]).is_none());
        }
    }
}
