//! `icwasi env`

use icwasi_types::VariableChange;
use serde_json::{Value, json};

use super::{Context, link};
use crate::exit::ExitStatus;
use crate::printer::safe;

/// Show or set environment variables of the program in a canister.
///
/// They stay across upgrades. They win over those of `icwasi link --env`; those of the canister's
/// settings, and of a single run, win over them. Needs the role admin, since values may be secrets:
/// note that whoever runs a node of the network can read them.
#[derive(clap::Args)]
pub struct Args {
    /// The canister: a name or a principal.
    #[arg(value_name = "CANISTER")]
    canister: String,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show what was set here: the default.
    List,
    /// Set variables: all or none.
    Set {
        /// Name and value.
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = link::parse_env)]
        variables: Vec<(String, String)>,
    },
    /// Remove variables that were set here.
    Unset {
        /// Names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let api = context.admin(&args.canister).await?;
    let changes: Vec<VariableChange> = match args.action.unwrap_or(Action::List) {
        Action::List => {
            let variables = api.env_list().await?;
            for variable in &variables {
                let text = format!("{}={}", variable.name, variable.value);
                context.printer.line(&safe(&text))?;
            }
            let variables: Vec<Value> = variables
                .iter()
                .map(|v| json!({ "name": v.name, "value": v.value }))
                .collect();
            context.printer.json(json!({ "variables": variables }))?;
            return Ok(ExitStatus::Done);
        }
        Action::Set { variables } => variables
            .into_iter()
            .map(|(name, value)| VariableChange {
                name,
                value: Some(value),
            })
            .collect(),
        Action::Unset { names } => names
            .into_iter()
            .map(|name| VariableChange { name, value: None })
            .collect(),
    };
    api.env_set(&changes).await?;
    context.printer.json(json!({ "changed": changes.len() }))?;
    Ok(ExitStatus::Done)
}
