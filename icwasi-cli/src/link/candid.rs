//! Merges the interfaces of the admin endpoints and of commands into the canister's own candid interface.

use std::collections::HashSet;

use candid::types::subtype::equal;
use candid::types::{Type, TypeEnv, TypeInner};
use candid_parser::IDLProg;
use candid_parser::syntax::{Binding, Dec, IDLActorType, IDLMergedProg, IDLType, pretty_print};

use super::error::LinkError;

/// The admin interface.
pub const ADMIN_INTERFACE: &str = include_str!("../../../candid/icwasi.did");

/// An interface, parsed and checked.
struct Interface {
    prog: IDLProg,
    env: TypeEnv,
    methods: Vec<(String, Type)>,
}

/// The canister's interface with those that the linker adds: place and text of each. `None` if
/// there is nothing to say.
pub(crate) fn merge(
    guest: Option<(&str, &str)>,
    added: &[(&str, String)],
) -> Result<Option<String>, LinkError> {
    let (mut text, place) = match (guest, added) {
        (None, []) => return Ok(None),
        (None, [(place, text), ..]) => (text.clone(), *place),
        (Some((place, text)), _) => (text.to_owned(), place),
    };
    parse(place, &text)?;
    let rest = if guest.is_some() { added } else { &added[1..] };
    for (with, interface) in rest {
        text = join(parse(place, &text)?, parse(with, interface)?, place)?;
    }
    Ok(Some(text))
}

fn parse(place: &str, text: &str) -> Result<Interface, LinkError> {
    let fail = |message: String| LinkError::Candid {
        place: place.to_owned(),
        message,
    };
    let prog: IDLProg = text
        .parse()
        .map_err(|e: candid_parser::Error| fail(describe(&e, text)))?;
    if prog
        .decs
        .iter()
        .any(|d| matches!(d, Dec::ImportType(_) | Dec::ImportServ(_)))
    {
        return Err(fail(
            "it imports other files; give one file that holds everything".to_owned(),
        ));
    }
    let mut env = TypeEnv::new();
    let actor = candid_parser::check_prog(&mut env, &prog).map_err(|e| fail(e.to_string()))?;
    let methods = match &actor {
        Some(actor) => service(&env, actor).map_err(fail)?,
        None => Vec::new(),
    };
    Ok(Interface { prog, env, methods })
}

/// The parser's message with a line number instead of a byte offset.
fn describe(error: &candid_parser::Error, text: &str) -> String {
    let label = error.report().labels.into_iter().next();
    match label {
        Some(label) => {
            let before = text.get(..label.range.start).unwrap_or(text);
            format!(
                "line {}: {}",
                before.matches('\n').count() + 1,
                label.message
            )
        }
        None => error.to_string(),
    }
}

fn service(env: &TypeEnv, actor: &Type) -> Result<Vec<(String, Type)>, String> {
    let actor = env.trace_type(actor).map_err(|e| e.to_string())?;
    match actor.as_ref() {
        TypeInner::Service(methods) => Ok(methods.clone()),
        TypeInner::Class(_, service_type) => service(env, service_type),
        _ => Err("its main type is not a service".to_owned()),
    }
}

fn join(guest: Interface, admin: Interface, place: &str) -> Result<String, LinkError> {
    let mut env = guest.env.clone();
    let same = |env: &mut TypeEnv, own: &Type, theirs: &Type| {
        let theirs = env.merge_type(admin.env.clone(), theirs.clone());
        equal(&mut HashSet::new(), env, own, &theirs).is_ok()
    };
    let mut decs: Vec<Dec> = guest.prog.decs;
    let mut added = Vec::new();
    for dec in admin.prog.decs {
        let Dec::TypD(binding) = dec else { continue };
        match guest.env.0.get(&binding.id) {
            None => added.push(Dec::TypD(binding)),
            Some(own) => {
                let theirs = TypeInner::Var(binding.id.clone()).into();
                if !same(&mut env.clone(), own, &theirs) {
                    return Err(LinkError::CandidConflict {
                        kind: "type",
                        name: binding.id,
                    });
                }
            }
        }
    }
    decs.extend(added);

    let mut methods = Vec::new();
    for method in bindings(admin.prog.actor.as_ref(), &decs) {
        let own = guest.methods.iter().find(|(name, _)| *name == method.id);
        let theirs = admin.methods.iter().find(|(name, _)| *name == method.id);
        match (own, theirs) {
            (Some((_, own)), Some((_, theirs))) => {
                if !same(&mut env, own, theirs) {
                    return Err(LinkError::CandidConflict {
                        kind: "method",
                        name: method.id,
                    });
                }
            }
            _ => methods.push(method),
        }
    }
    let mut all = bindings(guest.prog.actor.as_ref(), &decs);
    all.extend(methods);
    let typ = match guest.prog.actor.as_ref().map(|a| &a.typ) {
        Some(IDLType::ClassT(args, _)) => {
            IDLType::ClassT(args.clone(), Box::new(IDLType::ServT(all)))
        }
        _ => IDLType::ServT(all),
    };
    let docs = guest.prog.actor.map(|a| a.docs).unwrap_or_default();
    let prog = IDLProg {
        decs,
        actor: Some(IDLActorType { typ, docs }),
    };
    let text = pretty_print(&IDLMergedProg::new(prog));
    // What was put together must be an interface again.
    parse(&format!("{place}, joined with icwasi's interface"), &text)?;
    Ok(text)
}

/// Methods of a main service, through type names and init arguments.
fn bindings(actor: Option<&IDLActorType>, decs: &[Dec]) -> Vec<Binding> {
    let mut typ = match actor {
        Some(actor) => &actor.typ,
        None => return Vec::new(),
    };
    // `check_prog` refused cycles; each turn follows one name.
    for _ in 0..=decs.len() + 1 {
        typ = match typ {
            IDLType::ServT(methods) => return methods.clone(),
            IDLType::ClassT(_, inner) => inner,
            IDLType::VarT(name) => {
                let found = decs.iter().find_map(|d| match d {
                    Dec::TypD(b) if b.id == *name => Some(&b.typ),
                    _ => None,
                });
                match found {
                    Some(found) => found,
                    None => return Vec::new(),
                }
            }
            _ => return Vec::new(),
        };
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(guest: &str) -> Result<String, LinkError> {
        let added = [("the admin service", ADMIN_INTERFACE.to_owned())];
        merge(Some(("test.did", guest)), &added).map(|text| text.unwrap_or_default())
    }

    #[test]
    fn admin_methods_join_the_canisters() {
        let text = merged(
            "type T = record { a : nat };\n\
             // A constructor.\n\
             service : (text) -> { get : (key : text) -> (T) query; }",
        )
        .expect("merges");
        let both = parse("joined", &text).expect("parses");
        let names: Vec<_> = both.methods.iter().map(|(n, _)| n.as_str()).collect();
        assert!(
            names.contains(&"get") && names.contains(&"icwasi_upload_begin"),
            "{names:?}"
        );
        assert!(
            text.contains("(text) ->"),
            "init arguments are kept: {text}"
        );
        assert!(
            text.contains("key : text"),
            "argument names are kept: {text}"
        );
        let admin = parse("admin", ADMIN_INTERFACE).expect("parses");
        assert_eq!(both.methods.len(), admin.methods.len() + 1);
    }

    #[test]
    fn merging_twice_changes_nothing() {
        let once = merged("service : { get : () -> () }").expect("merges");
        assert_eq!(merged(&once).expect("merges again"), once);
    }

    #[test]
    fn conflicts_are_errors() {
        let method = merged("service : { icwasi_info : () -> () }");
        assert!(matches!(
            method,
            Err(LinkError::CandidConflict { kind: "method", .. })
        ));
        let ty = merged("type IcwasiStat = nat; service : {}");
        assert!(matches!(
            ty,
            Err(LinkError::CandidConflict { kind: "type", .. })
        ));
    }

    #[test]
    fn bad_interfaces_name_the_line() {
        let error = merged("type A = nat;\nservice : { get : (").expect_err("is damaged");
        assert!(error.to_string().contains("test.did"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(merged("import \"x.did\"; service : {}").is_err());
        assert!(merged("service : Missing").is_err());
    }
}
