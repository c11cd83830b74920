//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;

/// Run WASI programs as canisters of the Internet Computer, and operate their files.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 damage or difference found, 130 interrupted.
/// `icwasi run` ends with the program's own, 134 if it traps.
#[derive(Parser)]
#[command(name = "icwasi", version, propagate_version = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct GlobalOptions {
    /// Network: `local`, `ic`, a name in dfx.json or icp.yaml, or an URL.
    ///
    /// Default: ICWASI_NETWORK, ICP_NETWORK or DFX_NETWORK, else `local`: the running
    /// `icwasi replica`, else where icp or dfx run theirs.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME|URL",
        help_heading = "Connection"
    )]
    pub network: Option<String>,

    /// Root key of a network that is neither mainnet nor on this computer.
    #[arg(
        short = 'k',
        long,
        global = true,
        value_name = "mainnet|fetch|HEX",
        help_heading = "Connection"
    )]
    pub root_key: Option<String>,

    /// Identity: a name in the stores of icp and dfx, or `anonymous`.
    ///
    /// Default: ICWASI_IDENTITY, ICP_IDENTITY or DFX_IDENTITY, else what icp or dfx use by
    /// default, else, on local networks only, a key for development that icwasi keeps.
    #[arg(
        long,
        global = true,
        value_name = "NAME|anonymous",
        conflicts_with = "pem",
        help_heading = "Connection"
    )]
    pub identity: Option<String>,

    /// Private key file: PKCS#8 or SEC1, Ed25519, secp256k1 or P-256, not encrypted.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ICWASI_PEM",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub pem: Option<PathBuf>,

    /// Results (stdout) and errors (stderr) as JSON.
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,

    /// No progress and no messages except errors.
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,

    /// Say more on stderr; repeat for still more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Turn a WASI program into a canister module.
    Link(commands::link::Args),
    /// Run a program as the Internet Computer would, in this process.
    Run(commands::run::Args),
    /// Explain what a module needs, and what the Internet Computer would refuse.
    Check(commands::check::Args),
    /// Copy files and directories into a canister.
    Push(commands::push::Args),
    /// Copy files and directories out of a canister.
    Pull(commands::pull::Args),
    /// List a directory of a canister.
    Ls(commands::ls::Args),
    /// Show what a canister knows about a file.
    Stat(commands::stat::Args),
    /// Write files of a canister to stdout.
    Cat(commands::cat::Args),
    /// Remove files and directories of a canister.
    Rm(commands::rm::Args),
    /// Make directories in a canister.
    Mkdir(commands::mkdir::Args),
    /// Rename or move files within a canister.
    Mv(commands::mv::Args),
    /// Show how much space the files of a canister use.
    Df(commands::df::Args),
    /// Check the file system of a canister.
    Fsck(commands::fsck::Args),
    /// Show or set the most bytes that the files of a canister may use.
    Quota(commands::quota::Args),
    /// Show or set environment variables of the program in a canister.
    Env(commands::env::Args),
    /// Who may use the files of a canister.
    #[command(subcommand)]
    Access(commands::access::Command),
    /// Work on the files in a canister snapshot, without the canister.
    #[command(subcommand)]
    Image(commands::image::Command),
    /// Call a method of a canister with candid text.
    Call(commands::call::Args),
    /// Create a canister on a local network, if needed, and install code.
    Deploy(commands::deploy::Args),
    /// Run a local network.
    #[command(subcommand)]
    Replica(commands::replica::Command),
    /// The whole command line as Markdown.
    #[command(hide = true)]
    MarkdownHelp,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn options_do_not_clash() {
        super::Cli::command().debug_assert();
    }
}
