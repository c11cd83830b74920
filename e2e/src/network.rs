//! A network, identities, and deployment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use candid::Principal;
use ic_agent::Agent;
use ic_agent::identity::BasicIdentity;
use ic_ed25519::{PrivateKey, PrivateKeyFormat};
use ic_utils::interfaces::ManagementCanister;
use ic_utils::interfaces::management_canister::builders::CanisterInstallMode;
use tempfile::TempDir;

use crate::cli::Icwasi;
use crate::host::Host;
use crate::sqlite_app::SqliteApp;

/// Someone with a key.
pub struct Person {
    /// The key as a PEM file, for the command line.
    pub pem: PathBuf,
    /// Speaks for the person.
    pub agent: Agent,
}

impl Person {
    /// Their principal.
    ///
    /// # Errors
    /// None that can be expected of a key.
    pub fn principal(&self) -> Result<Principal> {
        self.agent.get_principal().map_err(anyhow::Error::msg)
    }

    async fn new(directory: &Path, name: &str, url: &str) -> Result<Self> {
        let pem = directory.join(format!("{name}.pem"));
        write_seed_key(&pem, name)?;
        let agent = agent(url, &pem).await?;
        Ok(Self { pem, agent })
    }
}

/// Writes a key that everybody can make, for tests, as a PEM file.
///
/// # Errors
/// If the file exists or cannot be written.
pub fn write_seed_key(path: &Path, seed: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let key = PrivateKey::generate_from_seed(seed.as_bytes());
    let pem = key.serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v2);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(pem.as_bytes())?;
    Ok(())
}

/// An agent for a local network, whose root key it asks for.
///
/// # Errors
/// If the key cannot be read or the network does not answer.
pub async fn agent(url: &str, pem: &Path) -> Result<Agent> {
    let identity = BasicIdentity::from_pem_file(pem).context("the key that was just written")?;
    let agent = Agent::builder()
        .with_url(url)
        .with_identity(identity)
        .with_max_polling_time(Duration::from_secs(120))
        .build()?;
    agent
        .fetch_root_key()
        .await
        .with_context(|| format!("no answer from {url}"))?;
    Ok(agent)
}

/// An agent without a key.
///
/// # Errors
/// If the network does not answer.
pub async fn anonymous(url: &str) -> Result<Agent> {
    let agent = Agent::builder().with_url(url).build()?;
    agent
        .fetch_root_key()
        .await
        .with_context(|| format!("no answer from {url}"))?;
    Ok(agent)
}

/// A network with two people: the owner, who controls what is deployed, and a stranger.
pub struct Network {
    /// What it runs on.
    pub replica: Host,
    /// Files of this test.
    pub directory: TempDir,
    /// Controls the canisters.
    pub owner: Person,
    /// Controls nothing.
    pub stranger: Person,
}

impl Network {
    /// Starts one, on what [`Host::from_environment`] gives.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start() -> Result<Self> {
        Self::on(Host::from_environment().await?).await
    }

    /// A network on `replica`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn on(replica: Host) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let url = replica.url();
        let owner = Person::new(directory.path(), "owner", &url).await?;
        let stranger = Person::new(directory.path(), "stranger", &url).await?;
        Ok(Self {
            replica,
            directory,
            owner,
            stranger,
        })
    }

    /// A path in the directory of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Creates a canister of the owner, without code.
    ///
    /// # Errors
    /// Those of the management canister.
    pub async fn create(&self) -> Result<Principal> {
        let management = ManagementCanister::create(&self.owner.agent);
        let (id,) = management
            .create_canister()
            .as_provisional_create_with_amount(Some(100_000_000_000_000))
            .with_effective_canister_id(self.replica.effective_canister())
            .call_and_wait()
            .await
            .context("create a canister")?;
        Ok(id)
    }

    /// Creates a canister of the owner and installs a module in it.
    ///
    /// # Errors
    /// Those of the management canister, with its reason.
    pub async fn deploy(&self, module: &Path) -> Result<Principal> {
        let id = self.create().await?;
        self.install(id, module, CanisterInstallMode::Install)
            .await?;
        Ok(id)
    }

    /// Replaces the code of a canister, keeping its stable memory.
    ///
    /// # Errors
    /// As of [`Network::deploy`].
    pub async fn upgrade(&self, id: Principal, module: &Path) -> Result<()> {
        self.install(id, module, CanisterInstallMode::Upgrade(None))
            .await
    }

    /// Puts code into a canister, whatever it holds.
    ///
    /// # Errors
    /// As of [`Network::deploy`].
    pub async fn reinstall(&self, id: Principal, module: &Path) -> Result<()> {
        self.install(id, module, CanisterInstallMode::Reinstall)
            .await
    }

    async fn install(&self, id: Principal, module: &Path, mode: CanisterInstallMode) -> Result<()> {
        let wasm =
            std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        ManagementCanister::create(&self.owner.agent)
            .install(&id, &wasm)
            .with_raw_arg(candid::encode_args(())?)
            .with_mode(mode)
            .call_and_wait()
            .await
            .with_context(|| format!("install {}", module.display()))
    }

    /// The SQLite example as the owner sees it.
    pub fn app(&self, id: Principal) -> SqliteApp<'_> {
        SqliteApp {
            agent: &self.owner.agent,
            id,
        }
    }

    /// `icwasi`, run by the owner.
    ///
    /// # Errors
    /// If the binary cannot be built.
    pub fn icwasi(&self) -> Result<Icwasi> {
        self.icwasi_as(&self.owner)
    }

    /// `icwasi`, run by someone.
    ///
    /// # Errors
    /// If the binary cannot be built.
    pub fn icwasi_as(&self, person: &Person) -> Result<Icwasi> {
        let icwasi = Icwasi::new()?.in_directory(self.directory.path());
        Ok(icwasi.with_network(&self.replica.url(), &person.pem))
    }

    /// Stops what was started for it.
    ///
    /// # Errors
    /// As of [`Host::stop`].
    pub async fn stop(self) -> Result<()> {
        self.replica.stop().await
    }
}
