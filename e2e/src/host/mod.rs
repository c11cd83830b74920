//! What the tests run on: the replica in this process, a PocketIC server, or any network that
//! listens already.
//!
//! The environment variable `ICWASI_E2E_NETWORK` chooses: a URL, or `pocket-ic`, which starts the
//! server that `POCKET_IC_BIN` names. Without it, it is the replica in this process.

mod pocket_ic;

use anyhow::{Context, Result, bail};
use candid::Principal;
use icwasi_replica::core::ExecutionStats;
use icwasi_replica::{Replica, ReplicaOptions};

pub use pocket_ic::PocketIc;

/// Names the network that tests use.
pub const NETWORK_VARIABLE: &str = "ICWASI_E2E_NETWORK";

/// A running network.
pub enum Host {
    /// The replica in this process.
    Embedded(Box<Replica>),
    /// An instance of a PocketIC server that was started for this test.
    PocketIc(PocketIc),
    /// Somebody else's; nothing is stopped.
    Url(String),
}

impl Host {
    /// The one that the environment asks for.
    ///
    /// # Errors
    /// If it does not start, or the variable makes no sense.
    pub async fn from_environment() -> Result<Self> {
        match std::env::var(NETWORK_VARIABLE) {
            Err(std::env::VarError::NotPresent) => Self::embedded().await,
            Ok(choice) => Self::named(&choice).await,
            Err(error) => Err(error).context(NETWORK_VARIABLE),
        }
    }

    async fn named(choice: &str) -> Result<Self> {
        if choice.starts_with("http://") || choice.starts_with("https://") {
            return Ok(Self::Url(choice.trim_end_matches('/').to_owned()));
        }
        match choice {
            "embedded" => Self::embedded().await,
            "pocket-ic" => Ok(Self::PocketIc(PocketIc::from_environment().await?)),
            _ => bail!("{NETWORK_VARIABLE} is `embedded`, `pocket-ic` or a URL, not {choice:?}"),
        }
    }

    /// The replica in this process, on a free port of the loopback interface.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn embedded() -> Result<Self> {
        let replica = Replica::start(ReplicaOptions {
            // Compiling a canister takes seconds; tests share the result.
            compile_cache: Some(xtask::guests::out_dir()?.join("compiled")),
            ..ReplicaOptions::default()
        })
        .await?;
        Ok(Self::Embedded(Box::new(replica)))
    }

    /// Where clients reach it, without a slash at the end.
    pub fn url(&self) -> String {
        match self {
            Self::Embedded(replica) => replica.url(),
            Self::PocketIc(pocket_ic) => pocket_ic.url(),
            Self::Url(url) => url.clone(),
        }
    }

    /// The canister id that a call which creates a canister is routed by.
    pub fn effective_canister(&self) -> Principal {
        match self {
            Self::PocketIc(pocket_ic) => pocket_ic.effective_canister(),
            Self::Embedded(_) | Self::Url(_) => Principal::management_canister(),
        }
    }

    /// Method and measurements of a canister's last message; only the replica in this process
    /// tells.
    pub fn last_stats(&self, canister: Principal) -> Option<(String, ExecutionStats)> {
        match self {
            Self::Embedded(replica) => replica.last_stats(canister),
            Self::PocketIc(_) | Self::Url(_) => None,
        }
    }

    /// Stops what was started.
    ///
    /// # Errors
    /// If a thread of the replica panicked.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Embedded(replica) => replica.stop().await.context("stop the replica"),
            Self::PocketIc(pocket_ic) => pocket_ic.stop(),
            Self::Url(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_network_is_chosen_by_name_or_url() {
        let host = Host::named("http://127.0.0.1:8000/").await.unwrap();
        assert_eq!(host.url(), "http://127.0.0.1:8000");
        let error = Host::named("mainnet").await.err().unwrap();
        assert!(error.to_string().contains("not \"mainnet\""), "{error}");
    }
}
