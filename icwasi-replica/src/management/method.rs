//! The methods of the management canister: which there are, and how each may be called.

/// Who may call a method from outside, before its own checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingress {
    /// Anybody.
    Everybody,
    /// Controllers of the canister that the argument names.
    Controllers,
    /// Controllers, and whom they let see this side of the canister.
    Viewers,
    /// Only canisters may call it.
    Never,
}

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A message from outside.
    Ingress,
    /// A query from outside.
    Query,
    /// A canister.
    Canister,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $ingress:ident, $query:literal;)*) => {
        /// A method that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are those of the interface specification")]
        pub enum Method { $($variant,)* }

        impl Method {
            /// The method of this name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Who may call it by ingress.
            pub fn ingress(self) -> Ingress {
                match self { $(Self::$variant => Ingress::$ingress,)* }
            }

            /// Whether it can be called as a query.
            pub fn is_query(self) -> bool {
                match self { $(Self::$variant => $query,)* }
            }
        }
    };
}

methods! {
    CreateCanister = "create_canister", Never, false;
    ProvisionalCreateCanister = "provisional_create_canister_with_cycles", Everybody, false;
    ProvisionalTopUp = "provisional_top_up_canister", Everybody, false;
    UpdateSettings = "update_settings", Controllers, false;
    UploadChunk = "upload_chunk", Controllers, false;
    ClearChunkStore = "clear_chunk_store", Controllers, false;
    StoredChunks = "stored_chunks", Controllers, false;
    InstallCode = "install_code", Controllers, false;
    InstallChunkedCode = "install_chunked_code", Controllers, false;
    UninstallCode = "uninstall_code", Controllers, false;
    StartCanister = "start_canister", Controllers, false;
    StopCanister = "stop_canister", Controllers, false;
    DeleteCanister = "delete_canister", Controllers, false;
    CanisterStatus = "canister_status", Viewers, true;
    CanisterInfo = "canister_info", Never, false;
    CanisterMetadata = "canister_metadata", Never, false;
    RawRand = "raw_rand", Never, false;
    DepositCycles = "deposit_cycles", Never, false;
    SubnetInfo = "subnet_info", Never, false;
    FetchCanisterLogs = "fetch_canister_logs", Never, true;
    TakeSnapshot = "take_canister_snapshot", Controllers, false;
    LoadSnapshot = "load_canister_snapshot", Controllers, false;
    ListSnapshots = "list_canister_snapshots", Viewers, true;
    DeleteSnapshot = "delete_canister_snapshot", Controllers, false;
    ReadSnapshotMetadata = "read_canister_snapshot_metadata", Viewers, false;
    ReadSnapshotData = "read_canister_snapshot_data", Viewers, false;
    UploadSnapshotMetadata = "upload_canister_snapshot_metadata", Controllers, false;
    UploadSnapshotData = "upload_canister_snapshot_data", Controllers, false;
}

/// Methods that the IC has and this replica does not. They are refused by name.
pub const REFUSED: &[&str] = &[
    "http_request",
    "flexible_http_request",
    "ecdsa_public_key",
    "sign_with_ecdsa",
    "schnorr_public_key",
    "sign_with_schnorr",
    "vetkd_public_key",
    "vetkd_derive_key",
    "bitcoin_get_balance",
    "bitcoin_get_utxos",
    "bitcoin_send_transaction",
    "bitcoin_get_current_fee_percentiles",
    "bitcoin_get_block_headers",
    "node_metrics_history",
    "subnet_metrics",
    "canister_metrics",
    "list_canisters",
    "rename_canister",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_is_both_served_and_refused() {
        for name in REFUSED {
            assert!(Method::parse(name).is_none(), "{name}");
        }
        assert_eq!(
            Method::parse("install_code").map(Method::name),
            Some("install_code")
        );
    }
}
