//! `icwasi call`

use icwasi_cli::deploy::{decode_reply, encode_argument, service_of};
use icwasi_cli::remote::RemoteError;
use serde_json::json;

use super::Context;
use crate::exit::ExitStatus;
use crate::printer::safe_lines;

/// Call a method of a canister with candid text, and print the reply as candid text.
///
/// The types come from the canister's own description of its interface, if it has one.
#[derive(clap::Args)]
pub struct Args {
    /// Name or principal.
    canister: String,
    /// The method.
    method: String,
    /// Candid text, such as '("select 1", 2)'.
    #[arg(default_value = "()")]
    argument: String,
    /// As a query: faster, changes nothing, and one node's word. Default where the interface
    /// says that the method is a query.
    #[arg(long, conflicts_with = "update")]
    query: bool,
    /// As an update, even if the interface says that the method is a query.
    #[arg(long)]
    update: bool,
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let project = context.project()?;
    let connection = context.connect(&project).await?;
    let id = project.resolve(&args.canister, &connection.network.name)?;
    let agent = &connection.agent;
    // A canister without the metadata is called all the same, with types that follow from the
    // text; if there is another reason, the call will meet it too.
    let metadata = agent
        .read_state_canister_metadata(id, "candid:service")
        .await
        .ok();
    let service = metadata.and_then(|m| service_of(std::str::from_utf8(&m).ok()?));
    let argument = encode_argument(&args.argument, service.as_ref(), Some(&args.method))?;
    let declared = service.as_ref().is_some_and(|s| s.is_query(&args.method));
    let reply = if args.query || (declared && !args.update) {
        agent
            .query(&id, &args.method)
            .with_arg(argument)
            .call()
            .await
    } else {
        agent
            .update(&id, &args.method)
            .with_arg(argument)
            .call_and_wait()
            .await
    };
    let url = &connection.network.url;
    let reply =
        reply.map_err(|e| RemoteError::from_agent(e, connection.caller, id, &args.method, url))?;
    let text = decode_reply(&reply, service.as_ref(), &args.method)?;
    context.printer.line(&safe_lines(&text))?;
    context
        .printer
        .json(json!({ "candid": text, "bytes": hex::encode(&reply) }))?;
    Ok(ExitStatus::Done)
}
