//! `icwasi access`

use candid::Principal;
use icwasi_types::{Grant, Role};
use serde_json::{Value, json};

use super::Context;
use crate::exit::ExitStatus;

/// Who may use the files of a canister, besides its controllers. Needs the role admin.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Grant a role, instead of the one that the principal has.
    Grant {
        /// The canister: a name or a principal.
        #[arg(value_name = "CANISTER")]
        canister: String,
        /// To whom.
        #[arg(value_name = "PRINCIPAL", value_parser = principal)]
        grantee: Principal,
        /// Which role; each includes those before it.
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Take the role of a principal away.
    Revoke {
        /// The canister: a name or a principal.
        #[arg(value_name = "CANISTER")]
        canister: String,
        /// Whose.
        #[arg(value_name = "PRINCIPAL", value_parser = principal)]
        grantee: Principal,
    },
    /// Show who has which role.
    List {
        /// The canister: a name or a principal.
        #[arg(value_name = "CANISTER")]
        canister: String,
    },
}

/// A role on the command line.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum RoleName {
    /// List, read and check files.
    Reader,
    /// Also change files, and run a command that was linked with --exec-access writers.
    Writer,
    /// Also change the settings and grant roles, as controllers may.
    Admin,
}

fn principal(text: &str) -> Result<Principal, String> {
    Principal::from_text(text).map_err(|e| format!("not a principal: {e}"))
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
    }
}

pub async fn run(command: Command, context: &Context) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Grant {
            canister,
            grantee,
            role,
        } => {
            let role = match role {
                RoleName::Reader => Role::Reader,
                RoleName::Writer => Role::Writer,
                RoleName::Admin => Role::Admin,
            };
            let api = context.admin(&canister).await?;
            api.access_grant(grantee, role).await?;
            let granted = grant_json(&Grant { grantee, role });
            context.printer.json(json!({ "granted": granted }))?;
        }
        Command::Revoke { canister, grantee } => {
            let api = context.admin(&canister).await?;
            match api.access_revoke(grantee).await {
                Err(error) if error.is_not_found() => {
                    anyhow::bail!("{grantee} has no role in {canister}");
                }
                result => result?,
            }
            let revoked = grantee.to_text();
            context.printer.json(json!({ "revoked": revoked }))?;
        }
        Command::List { canister } => {
            let grants = context.admin(&canister).await?.access_list().await?;
            for grant in &grants {
                let text = format!("{:<6} {}", name(grant.role), grant.grantee);
                context.printer.line(&text)?;
            }
            let grants: Vec<Value> = grants.iter().map(grant_json).collect();
            context.printer.json(json!({ "grants": grants }))?;
        }
    }
    Ok(ExitStatus::Done)
}

fn grant_json(grant: &Grant) -> Value {
    json!({ "principal": grant.grantee.to_text(), "role": name(grant.role) })
}
