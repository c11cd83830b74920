//! `args_*` and `environ_*`.
//!
//! Arguments come from the link configuration, or from the run of a command. Environment variables
//! come from the link configuration, from admins, from the canister's settings and from the run;
//! of equal names, the later in this order wins.

use super::errno::{Errno, Result};
use super::guest::Guest;
use crate::env::Env;
use crate::runtime::Runtime;

/// The environment as `NAME=value`, read when the program asks for its size.
#[derive(Debug)]
pub(crate) struct Environment(Option<Vec<Vec<u8>>>);

impl Environment {
    pub(crate) const fn new() -> Self {
        Self(None)
    }
}

/// `args_sizes_get`: number of arguments, and bytes of all with a NUL after each.
pub fn args_sizes_get(rt: &mut Runtime, g: &mut Guest<'_>, count: u32, size: u32) -> Result<()> {
    let strings = arguments(rt);
    put_sizes(g, &strings, count, size)
}

/// `args_get`: pointers to `argv`, the strings to `buf`.
pub fn args_get(rt: &mut Runtime, g: &mut Guest<'_>, argv: u32, buf: u32) -> Result<()> {
    let strings = arguments(rt);
    put_strings(g, &strings, argv, buf)
}

/// Those of the run, or else of the link configuration.
fn arguments(rt: &mut Runtime) -> Vec<Vec<u8>> {
    let args = match &rt.wasi.run {
        Some(run) if !run.args.is_empty() => &run.args,
        _ => &rt.config().args,
    };
    args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

/// `environ_sizes_get`
pub fn environ_sizes_get(rt: &mut Runtime, g: &mut Guest<'_>, count: u32, size: u32) -> Result<()> {
    let variables = collect(rt);
    let result = put_sizes(g, &variables, count, size);
    rt.wasi.environment.0 = Some(variables);
    result
}

/// `environ_get`: what `environ_sizes_get` measured last, so that the buffer fits.
pub fn environ_get(rt: &mut Runtime, g: &mut Guest<'_>, environ: u32, buf: u32) -> Result<()> {
    let variables = match rt.wasi.environment.0.take() {
        Some(variables) => variables,
        None => collect(rt),
    };
    let result = put_strings(g, &variables, environ, buf);
    rt.wasi.environment.0 = Some(variables);
    result
}

fn collect(rt: &mut Runtime) -> Vec<Vec<u8>> {
    let bytes = |(name, value): &(String, String)| (name.clone().into(), value.clone().into());
    let mut layers: Vec<Vec<(Vec<u8>, Vec<u8>)>> = vec![
        rt.config().env.iter().map(bytes).collect(),
        rt.admin_env().iter().map(bytes).collect(),
        rt.env().environment(),
    ];
    layers.extend((rt.wasi.run.iter()).map(|run| run.env.iter().map(bytes).collect()));
    let mut variables: Vec<Vec<u8>> = Vec::new();
    for (name, value) in layers.into_iter().flatten() {
        let prefix = [&name[..], b"="].concat();
        variables.retain(|variable| !variable.starts_with(&prefix));
        variables.push([prefix, value].concat());
    }
    variables
}

fn put_sizes<S: AsRef<[u8]>>(
    g: &mut Guest<'_>,
    strings: &[S],
    count: u32,
    size: u32,
) -> Result<()> {
    let bytes: usize = strings.iter().map(|string| string.as_ref().len() + 1).sum();
    let number = u32::try_from(strings.len()).map_err(|_| Errno::OVERFLOW)?;
    let bytes = u32::try_from(bytes).map_err(|_| Errno::OVERFLOW)?;
    g.write_u32(count, number)?;
    g.write_u32(size, bytes)
}

fn put_strings<S: AsRef<[u8]>>(
    g: &mut Guest<'_>,
    strings: &[S],
    pointers: u32,
    buf: u32,
) -> Result<()> {
    let (mut pointer, mut at) = (pointers, buf);
    for string in strings {
        let string = string.as_ref();
        g.write_u32(pointer, at)?;
        g.write_bytes(at, string)?;
        // The strings fit into the memory, so their lengths fit into 32 bits.
        at = at.checked_add(string.len() as u32).ok_or(Errno::FAULT)?;
        g.write(at, [0])?;
        at = at.checked_add(1).ok_or(Errno::FAULT)?;
        pointer = pointer.checked_add(4).ok_or(Errno::FAULT)?;
    }
    Ok(())
}
