//! Certificates for outcomes of calls.
//!
//! A signature costs about a millisecond, more than most calls. So calls that finish while one is
//! being made share the next: their outcomes go into one tree, which is signed once, and each
//! client gets the part of the tree that proves its own outcome.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ic_transport_types::RequestId;
use tokio::sync::oneshot;

use crate::executor::Shared;
use crate::ingress::history::IngressEntry;
use crate::state_tree::OutcomeTree;

/// Most outcomes in one tree.
const BATCH: usize = 256;

/// The thread that signs; cheap to clone, ends with the last clone.
#[derive(Clone)]
pub struct Certifier {
    queue: Sender<Order>,
}

struct Order {
    id: RequestId,
    done: oneshot::Sender<Vec<u8>>,
}

impl Certifier {
    /// Starts the thread.
    pub fn spawn(shared: Arc<Shared>) -> std::io::Result<Self> {
        let (queue, orders) = channel();
        std::thread::Builder::new()
            .name("icwasi-certifier".to_string())
            .spawn(move || work(&shared, &orders))?;
        Ok(Self { queue })
    }

    /// The certificate of a call's status, as tagged CBOR; `None` if the call is not known.
    pub async fn certify(&self, id: RequestId) -> Option<Vec<u8>> {
        let (done, certificate) = oneshot::channel();
        self.queue.send(Order { id, done }).ok()?;
        certificate.await.ok()
    }
}

fn work(shared: &Shared, orders: &Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let mut batch = vec![first];
        batch.extend(orders.try_iter().take(BATCH - 1));
        let known: Vec<(Order, IngressEntry)> = {
            let history = shared.history();
            batch
                .into_iter()
                .filter_map(|order| {
                    let entry = history.get(&order.id)?.clone();
                    Some((order, entry))
                })
                .collect()
        };
        if known.is_empty() {
            continue;
        }
        let outcomes = known.iter().map(|(order, entry)| (*order.id, entry));
        let tree = OutcomeTree::new(shared.clock.now(), outcomes);
        let signature = shared.keys.sign_root(&tree.digest());
        for (order, _) in known {
            if let Some(witness) = tree.witness(&order.id) {
                // A client that has gone does not need it.
                let _ = order
                    .done
                    .send(shared.keys.certificate(witness, &signature));
            }
        }
    }
}
