// Drives a local replica with @icp-sdk/core: node client.mjs URL MODULE
// The module is the counter of e2e/src/clients/counter.rs. Every step throws when it goes wrong.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Actor, AnonymousIdentity, CanisterStatus, HttpAgent } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Secp256k1KeyIdentity } from '@icp-sdk/core/identity/secp256k1';
import { Principal } from '@icp-sdk/core/principal';

const CHUNK = 1 << 20;
const [url, modulePath] = process.argv.slice(2);
const module = new Uint8Array(await readFile(modulePath));
const sha256 = (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest());

const step = async (name, work) => {
  const result = await work();
  console.log(`ok ${name}`);
  return result;
};

// The part of the management canister's interface that is used here.
const management = ({ IDL }) => {
  const id = IDL.Record({ canister_id: IDL.Principal });
  const hash = IDL.Record({ hash: IDL.Vec(IDL.Nat8) });
  const mode = IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Null });
  const snapshot = IDL.Record({
    id: IDL.Vec(IDL.Nat8),
    taken_at_timestamp: IDL.Nat64,
    total_size: IDL.Nat64,
  });
  const snapshotFields = { canister_id: IDL.Principal, snapshot_id: IDL.Vec(IDL.Nat8) };
  const ofSnapshot = IDL.Record(snapshotFields);
  const global = IDL.Variant({
    i32: IDL.Int32,
    i64: IDL.Int64,
    f32: IDL.Float32,
    f64: IDL.Float64,
    v128: IDL.Nat,
  });
  const metadata = {
    wasm_module_size: IDL.Nat64,
    globals: IDL.Vec(IDL.Opt(global)),
    wasm_memory_size: IDL.Nat64,
    stable_memory_size: IDL.Nat64,
    certified_data: IDL.Vec(IDL.Nat8),
  };
  const slice = (fields) =>
    IDL.Variant({
      wasm_module: IDL.Record(fields),
      wasm_memory: IDL.Record(fields),
      stable_memory: IDL.Record(fields),
    });
  return IDL.Service({
    provisional_create_canister_with_cycles: IDL.Func(
      [IDL.Record({ amount: IDL.Opt(IDL.Nat) })],
      [id],
      [],
    ),
    install_code: IDL.Func(
      [
        IDL.Record({
          mode,
          canister_id: IDL.Principal,
          wasm_module: IDL.Vec(IDL.Nat8),
          arg: IDL.Vec(IDL.Nat8),
        }),
      ],
      [],
      [],
    ),
    upload_chunk: IDL.Func(
      [IDL.Record({ canister_id: IDL.Principal, chunk: IDL.Vec(IDL.Nat8) })],
      [hash],
      [],
    ),
    install_chunked_code: IDL.Func(
      [
        IDL.Record({
          mode,
          target_canister: IDL.Principal,
          chunk_hashes_list: IDL.Vec(hash),
          wasm_module_hash: IDL.Vec(IDL.Nat8),
          arg: IDL.Vec(IDL.Nat8),
        }),
      ],
      [],
      [],
    ),
    take_canister_snapshot: IDL.Func(
      [IDL.Record({ canister_id: IDL.Principal, replace_snapshot: IDL.Opt(IDL.Vec(IDL.Nat8)) })],
      [snapshot],
      [],
    ),
    list_canister_snapshots: IDL.Func([id], [IDL.Vec(snapshot)], []),
    load_canister_snapshot: IDL.Func([ofSnapshot], [], []),
    read_canister_snapshot_metadata: IDL.Func([ofSnapshot], [IDL.Record(metadata)], []),
    read_canister_snapshot_data: IDL.Func(
      [IDL.Record({ ...snapshotFields, kind: slice({ offset: IDL.Nat64, size: IDL.Nat64 }) })],
      [IDL.Record({ chunk: IDL.Vec(IDL.Nat8) })],
      [],
    ),
    upload_canister_snapshot_metadata: IDL.Func(
      [IDL.Record({ canister_id: IDL.Principal, ...metadata, globals: IDL.Vec(global) })],
      [IDL.Record({ snapshot_id: IDL.Vec(IDL.Nat8) })],
      [],
    ),
    upload_canister_snapshot_data: IDL.Func(
      [
        IDL.Record({
          ...snapshotFields,
          kind: slice({ offset: IDL.Nat64 }),
          chunk: IDL.Vec(IDL.Nat8),
        }),
      ],
      [],
      [],
    ),
  });
};

const counter = ({ IDL }) =>
  IDL.Service({
    inc: IDL.Func([], [IDL.Nat64], []),
    get: IDL.Func([], [IDL.Nat64], ['query']),
  });

const managementActor = (agent, target) =>
  Actor.createActor(management, {
    agent,
    canisterId: Principal.managementCanister(),
    effectiveCanisterId: target ?? Principal.fromText('aaaaa-aa'),
  });

const agentOf = (identity) =>
  HttpAgent.create({ host: url, identity, shouldFetchRootKey: true, verifyQuerySignatures: true });

const owner = Secp256k1KeyIdentity.generate();
const agent = await step('fetch the root key', () => agentOf(owner));

const create = async () =>
  (await managementActor(agent).provisional_create_canister_with_cycles({ amount: [] }))
    .canister_id;

const id = await step('create a canister', create);
const ic = managementActor(agent, id);
await step('install in one message', () =>
  ic.install_code({ mode: { install: null }, canister_id: id, wasm_module: module, arg: [] }),
);

const app = Actor.createActor(counter, { agent, canisterId: id });
await step('update, certificate checked', async () => {
  assert.equal(await app.inc(), 1n);
  assert.equal(await app.inc(), 2n);
});
await step('query, node signature checked', async () => assert.equal(await app.get(), 2n));
await step('query signed by an Ed25519 key and by nobody', async () => {
  for (const identity of [Ed25519KeyIdentity.generate(), new AnonymousIdentity()]) {
    const other = Actor.createActor(counter, { agent: await agentOf(identity), canisterId: id });
    assert.equal(await other.get(), 2n);
  }
});
await step('a wrong node signature is not believed', async () => {
  // The replica's answer with one bit of the signature turned: the check above must be real.
  const forging = async (input, init) => {
    const response = await fetch(input, init);
    if (!String(input).includes('/query')) return response;
    const body = new Uint8Array(await response.arrayBuffer());
    const at = Buffer.from(body).indexOf('signature', Buffer.from(body).indexOf('signatures') + 10);
    assert.ok(at > 0, 'the reply holds a signature');
    body[at + 'signature'.length + 10] ^= 1;
    return new Response(body, { status: response.status, headers: response.headers });
  };
  const deceived = await HttpAgent.create({
    host: url,
    identity: owner,
    fetch: forging,
    shouldFetchRootKey: true,
    retryTimes: 0,
  });
  await assert.rejects(
    Actor.createActor(counter, { agent: deceived, canisterId: id }).get(),
    /signature/i,
  );
});

await step('read_state', async () => {
  const status = await CanisterStatus.request({
    agent,
    canisterId: id,
    paths: ['time', 'controllers', 'module_hash', 'candid', 'subnet'],
  });
  const time = status.get('time');
  assert.ok(Math.abs(time.getTime() - Date.now()) < 60_000, `time ${time}`);
  assert.deepEqual(
    status.get('controllers').map((c) => c.toText()),
    [owner.getPrincipal().toText()],
  );
  assert.equal(status.get('module_hash'), Buffer.from(sha256(module)).toString('hex'));
  assert.match(status.get('candid'), /inc\s*:/);
  assert.equal(status.get('subnet').nodeKeys.size, 1);
});

await step('errors reach the client', async () => {
  const broken = Actor.createActor(
    ({ IDL }) => IDL.Service({ nothing: IDL.Func([], [], []) }),
    { agent, canisterId: id },
  );
  await assert.rejects(broken.nothing(), /IC0536|no update method/);
  const stranger = managementActor(await agentOf(Ed25519KeyIdentity.generate()), id);
  await assert.rejects(stranger.list_canister_snapshots({ canister_id: id }), /controller/i);
});

const taken = await step('take, list and load a snapshot', async () => {
  const taken = await ic.take_canister_snapshot({ canister_id: id, replace_snapshot: [] });
  const listed = await ic.list_canister_snapshots({ canister_id: id });
  assert.deepEqual(listed, [taken]);
  assert.equal(await app.inc(), 3n);
  await ic.load_canister_snapshot({ canister_id: id, snapshot_id: taken.id });
  assert.equal(await app.get(), 2n);
  return taken;
});

await step('download and upload the data of a snapshot', async () => {
  const copy = await create();
  const target = managementActor(agent, copy);
  const source = { canister_id: id, snapshot_id: taken.id };
  const metadata = await ic.read_canister_snapshot_metadata(source);
  const { snapshot_id } = await target.upload_canister_snapshot_metadata({
    ...metadata,
    canister_id: copy,
    globals: metadata.globals.flat(),
  });
  for (const [part, size] of [
    ['wasm_module', metadata.wasm_module_size],
    ['wasm_memory', metadata.wasm_memory_size],
    ['stable_memory', metadata.stable_memory_size],
  ]) {
    if (size === 0n) continue;
    const { chunk } = await ic.read_canister_snapshot_data({
      ...source,
      kind: { [part]: { offset: 0n, size } },
    });
    assert.equal(BigInt(chunk.length), size);
    await target.upload_canister_snapshot_data({
      canister_id: copy,
      snapshot_id,
      kind: { [part]: { offset: 0n } },
      chunk,
    });
  }
  await target.load_canister_snapshot({ canister_id: copy, snapshot_id });
  const restored = Actor.createActor(counter, { agent, canisterId: copy });
  assert.equal(await restored.get(), 2n);
  assert.equal(await restored.inc(), 3n);
  assert.equal(await app.get(), 2n);
});

await step('install from chunks', async () => {
  // A custom section makes the module too large for one message.
  const filler = new Uint8Array(2_500_000);
  for (let i = 0; i < filler.length; i++) filler[i] = (i * 31) >> 3;
  const name = new TextEncoder().encode('filler');
  const content = [name.length, ...name];
  const size = [];
  for (let n = content.length + filler.length; ; n >>>= 7) {
    size.push(n > 127 ? (n & 127) | 128 : n);
    if (n <= 127) break;
  }
  const large = new Uint8Array(Buffer.concat([module, Uint8Array.of(0, ...size, ...content), filler]));

  const target = await create();
  const ic = managementActor(agent, target);
  const hashes = [];
  for (let at = 0; at < large.length; at += CHUNK) {
    const chunk = large.slice(at, at + CHUNK);
    const { hash } = await ic.upload_chunk({ canister_id: target, chunk });
    assert.deepEqual(new Uint8Array(hash), sha256(chunk));
    hashes.push({ hash });
  }
  assert.equal(hashes.length, 3);
  await ic.install_chunked_code({
    mode: { install: null },
    target_canister: target,
    chunk_hashes_list: hashes,
    wasm_module_hash: sha256(large),
    arg: [],
  });
  const app = Actor.createActor(counter, { agent, canisterId: target });
  assert.equal(await app.inc(), 1n);
});
