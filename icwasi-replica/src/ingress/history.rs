//! The status of calls: replay protection, and what `/request_status` certifies.

use std::collections::{BTreeSet, HashMap, VecDeque};

use candid::Principal;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Bytes of replies that are kept; when there are more, the oldest calls are `Done`.
const KEEP_REPLY_BYTES: usize = 256 << 20;
/// How long the outcome of a call can be read after it was finished.
const KEEP_OUTCOME_NANOS: u64 = 5 * 60 * 1_000_000_000;

/// A rejection as the state tree shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// 1 to 5.
    pub code: u64,
    /// Text for people.
    pub message: String,
    /// `ICxxxx`.
    pub error_code: String,
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IngressStatus {
    /// Accepted.
    Received,
    /// Being executed.
    Processing,
    /// Finished with a reply.
    Replied(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Finished with a rejection.
    Rejected(Reject),
    /// Finished; the outcome is forgotten, the id not yet.
    Done,
}

/// A call that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngressEntry {
    /// Who called; only they may read the status.
    pub sender: Principal,
    /// Which canister was called (`aaaaa-aa` for the management canister).
    pub receiver: Principal,
    /// The canister id of the path under which it came.
    pub effective: Principal,
    /// Nanoseconds since 1970; until then the same request may come again.
    pub expiry: u64,
    /// Nanoseconds since 1970 at which the status was last changed.
    pub changed: u64,
    /// Where it stands.
    pub status: IngressStatus,
}

struct Slot {
    entry: IngressEntry,
    /// Turns true when the call is finished.
    finished: watch::Sender<bool>,
}

/// What became of offering a call.
pub enum Offer {
    /// New: it is now `Received`. Whoever executes it must finish or withdraw it.
    New(watch::Receiver<bool>),
    /// The same request came before.
    Known(watch::Receiver<bool>),
}

/// All calls that can still be asked about, by request id.
#[derive(Default)]
pub struct IngressHistory {
    slots: HashMap<[u8; 32], Slot>,
    /// (time at which something is due, id), so that pruning costs what it removes.
    due: BTreeSet<(u64, [u8; 32])>,
    /// Calls with a reply, oldest first, and the length of the reply.
    replies: VecDeque<([u8; 32], usize)>,
    reply_bytes: usize,
}

impl IngressHistory {
    /// Takes in a call, unless it was seen before.
    pub fn offer(&mut self, id: [u8; 32], entry: IngressEntry) -> Offer {
        if let Some(slot) = self.slots.get(&id) {
            return Offer::Known(slot.finished.subscribe());
        }
        let (finished, receiver) = watch::channel(false);
        self.slots.insert(id, Slot { entry, finished });
        Offer::New(receiver)
    }

    /// Forgets a call that was not accepted after all; it may come again.
    pub fn withdraw(&mut self, id: &[u8; 32]) {
        if let Some(slot) = self.slots.remove(id) {
            slot.finished.send_replace(true);
        }
    }

    /// Marks a call as being executed.
    pub fn processing(&mut self, id: &[u8; 32], now: u64) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.entry.status = IngressStatus::Processing;
            slot.entry.changed = now;
        }
    }

    /// Sets the outcome, and wakes those who wait for it.
    pub fn finish(&mut self, id: &[u8; 32], status: IngressStatus, now: u64) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.entry.status = status;
            slot.entry.changed = now;
            let due = forget_at(&slot.entry);
            slot.finished.send_replace(true);
            let reply = match &slot.entry.status {
                IngressStatus::Replied(reply) => reply.len(),
                _ => 0,
            };
            self.due.insert((due, *id));
            self.count_reply(*id, reply);
        }
    }

    fn count_reply(&mut self, id: [u8; 32], bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.replies.push_back((id, bytes));
        self.reply_bytes += bytes;
        // The newest stays, whatever its size: somebody waits for it.
        while self.reply_bytes > KEEP_REPLY_BYTES && self.replies.len() > 1 {
            if let Some((oldest, bytes)) = self.replies.pop_front() {
                self.reply_bytes -= bytes;
                if let Some(slot) = self.slots.get_mut(&oldest) {
                    slot.entry.status = IngressStatus::Done;
                }
            }
        }
    }

    /// Takes in a finished call that was saved.
    pub fn restore(&mut self, id: [u8; 32], entry: IngressEntry) {
        let due = forget_at(&entry);
        let reply = match &entry.status {
            IngressStatus::Replied(reply) => reply.len(),
            _ => 0,
        };
        let (finished, _) = watch::channel(true);
        self.slots.insert(id, Slot { entry, finished });
        self.due.insert((due, id));
        self.count_reply(id, reply);
    }

    /// Where the call `id` stands.
    pub fn get(&self, id: &[u8; 32]) -> Option<&IngressEntry> {
        self.slots.get(id).map(|slot| &slot.entry)
    }

    /// Forgets the calls that nobody may ask about or send again; returns their ids.
    pub fn prune(&mut self, now: u64) -> Vec<[u8; 32]> {
        let mut gone = Vec::new();
        while let Some(&(due, id)) = self.due.first() {
            if due > now {
                break;
            }
            self.due.pop_first();
            self.slots.remove(&id);
            gone.push(id);
        }
        while let Some((id, bytes)) = self.replies.front()
            && !self.slots.contains_key(id)
        {
            self.reply_bytes -= bytes;
            self.replies.pop_front();
        }
        gone
    }

    /// Calls that are finished and still known.
    pub fn finished(&self) -> impl Iterator<Item = (&[u8; 32], &IngressEntry)> {
        self.due
            .iter()
            .filter_map(|(_, id)| self.slots.get(id).map(|slot| (id, &slot.entry)))
    }
}

/// An outcome stays for five minutes, and at least as long as the request could be sent again.
fn forget_at(entry: &IngressEntry) -> u64 {
    entry
        .changed
        .saturating_add(KEEP_OUTCOME_NANOS)
        .max(entry.expiry.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(expiry: u64) -> IngressEntry {
        let anonymous = Principal::anonymous();
        IngressEntry {
            sender: anonymous,
            receiver: anonymous,
            effective: anonymous,
            expiry,
            changed: 0,
            status: IngressStatus::Received,
        }
    }

    #[test]
    fn a_call_is_known_until_it_can_no_longer_be_sent() {
        let mut history = IngressHistory::default();
        let expiry = 2 * KEEP_OUTCOME_NANOS;
        assert!(matches!(
            history.offer([1; 32], entry(expiry)),
            Offer::New(_)
        ));
        assert!(matches!(
            history.offer([1; 32], entry(expiry)),
            Offer::Known(_)
        ));
        history.finish(&[1; 32], IngressStatus::Replied(vec![1]), 10);
        assert!(history.prune(expiry).is_empty());
        assert!(matches!(
            history.offer([1; 32], entry(expiry)),
            Offer::Known(_)
        ));
        assert_eq!(history.prune(expiry + 1), vec![[1; 32]]);
        assert!(history.get(&[1; 32]).is_none());
    }

    #[test]
    fn the_oldest_replies_make_room() {
        let mut history = IngressHistory::default();
        let large = KEEP_REPLY_BYTES / 2;
        for n in 1..=4 {
            history.offer([n; 32], entry(KEEP_OUTCOME_NANOS));
            let reply = IngressStatus::Replied(vec![n; large]);
            history.finish(&[n; 32], reply, u64::from(n));
        }
        let done = |n: u8, history: &IngressHistory| {
            history.get(&[n; 32]).expect("known").status == IngressStatus::Done
        };
        assert!(done(1, &history) && done(2, &history), "no room for them");
        assert!(!done(3, &history) && !done(4, &history));
        assert!(matches!(
            history.offer([1; 32], entry(KEEP_OUTCOME_NANOS)),
            Offer::Known(_)
        ));
        assert_eq!(history.prune(3 * KEEP_OUTCOME_NANOS).len(), 4);
        assert_eq!((history.reply_bytes, history.replies.len()), (0, 0));
    }
}
