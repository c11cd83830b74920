//! The admin methods as the IC calls them: who may, decoding, encoding, exports.
//!
//! One table makes the exports (on Wasm), [`dispatch`] and [`interface`] (natively, for tests),
//! so that they cannot differ. The caller is checked before the argument is even copied out of
//! the message: a stranger's two megabytes cost no more than the refusal.
//!
//! There is no `ic_cdk` in it: its macros decode before a method can refuse with a value, and
//! its asynchronous executor would be dead weight in every linked program.

use candid::utils::{ArgumentDecoder, decode_args_with_config};
use candid::{CandidType, DecoderConfig, Principal};
use ic_stable_structures::Memory;
use icwasi_types::{AdminError, Quota, Role, UploadId, UploadRequest, VariableChange};
use serde_bytes::{ByteBuf, Bytes};

use super::auth::{self, Caller, authorize};
use super::{download, fsck, manage, remove, settings, upload};
use crate::fs::{Fs, Nanos};
use crate::settings::Settings;

/// Who calls and when.
#[derive(Clone, Debug)]
pub struct Call {
    /// The caller.
    pub caller: Caller,
    /// Time of the message, in nanoseconds since 1970.
    pub now: Nanos,
    /// The quota of the link configuration.
    pub linked_quota: Option<u64>,
    /// Counts the instructions that the message has used so far.
    pub instructions: fn() -> u64,
}

/// A candid-encoded reply, in three pieces so that a large blob need not be copied.
#[derive(Debug, Default)]
pub struct Reply {
    head: Vec<u8>,
    blob: ByteBuf,
    tail: Vec<u8>,
}

impl Reply {
    /// The pieces, in order.
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.head, &self.blob, &self.tail]
    }

    fn encode(value: &impl CandidType) -> Self {
        let head = candid::encode_one(value).expect("the types of the interface can be encoded");
        Reply {
            head,
            ..Reply::default()
        }
    }

    fn refuse(error: AdminError) -> Self {
        if error == AdminError::NotAuthorized {
            return Reply {
                head: NOT_AUTHORIZED.to_vec(),
                ..Reply::default()
            };
        }
        Self::encode(&Refused::Err(error))
    }
}

// Replies name only the tags that they use: a variant with fewer tags is a subtype. Encoding the
// type of all errors with every reply would cost 300,000 instructions.

/// A reply of type `Result<T, AdminError>` that is `Ok`.
#[derive(CandidType)]
enum Done<T> {
    Ok(T),
}

/// A reply of type `Result<T, AdminError>` that is `Err`.
#[derive(CandidType)]
enum Refused<E> {
    Err(E),
}

/// `Err(NotAuthorized)`, which anybody can ask for as often as they like.
const NOT_AUTHORIZED: &[u8] =
    b"DIDL\x02\x6b\x01\xc5\xfe\xd2\x01\x01\x6b\x01\xee\x82\xc1\xea\x07\x7f\x01\x00\x00\x00";

/// What can be replied.
trait IntoReply {
    fn into_reply(self) -> Reply;
}

macro_rules! encoded {
    ($($type:ty),*) => {$(
        impl IntoReply for $type {
            fn into_reply(self) -> Reply {
                Reply::encode(&Done::Ok(self))
            }
        }
    )*};
}
encoded!(
    (),
    icwasi_types::Info,
    icwasi_types::Stat,
    icwasi_types::ListPage,
    icwasi_types::Upload,
    icwasi_types::Removed,
    icwasi_types::CheckedPart,
    Vec<icwasi_types::Variable>,
    Vec<icwasi_types::Grant>
);

impl IntoReply for icwasi_types::ReadReply {
    /// Encodes the record with an empty `data`, and puts the bytes in its place: `data` is the
    /// first field on the wire, before `size` and `version`, eight bytes each.
    fn into_reply(mut self) -> Reply {
        let blob = std::mem::take(&mut self.data);
        let mut head = Reply::encode(&Done::Ok(self)).head;
        let tail = head.split_off(head.len() - 16);
        head.pop();
        let mut length = blob.len();
        while length >= 0x80 {
            head.push(length as u8 | 0x80);
            length >>= 7;
        }
        head.push(length as u8);
        Reply { head, blob, tail }
    }
}

/// Decodes the arguments of a method, borrowing blobs.
fn decode<'a, T: ArgumentDecoder<'a>>(arg: &'a [u8]) -> Result<T, AdminError> {
    let mut config = DecoderConfig::new();
    // Arguments that clients send cost a few thousand, their blobs about one a byte; unknown
    // fields are of future versions, and small.
    config
        .set_decoding_quota(16 << 20)
        .set_skipping_quota(100_000)
        .set_full_error_message(false);
    decode_args_with_config(arg, &config).map_err(|error| {
        AdminError::InvalidArgument(format!(
            "the argument is not what this method takes (see candid/icwasi.did): {error}"
        ))
    })
}

/// How a method gets at the file system, while it works and not longer.
///
/// On `wasm32-wasip1`, candid's hash maps ask WASI for random keys when they are used first, and
/// WASI is this library. So nothing may be decoded or encoded while the file system is borrowed.
trait Access {
    type Memory: Memory;

    fn with<R>(
        &mut self,
        work: impl FnOnce(&mut Fs<Self::Memory>, &mut Settings, &Call) -> Result<R, AdminError>,
    ) -> Result<R, AdminError>;
}

/// A method: decodes its argument, works, encodes.
type Method<A> = fn(&mut A, &[u8]) -> Result<Reply, AdminError>;

macro_rules! endpoints {
    ($($kind:literal $role:ident $name:ident ($($arg:ident: $type:ty),*) -> $ok:ty, |$fs:ident, $settings:ident, $call:ident| $body:expr;)*) => {
        mod methods {
            use super::*;
            $(pub(super) fn $name<A: Access>(
                access: &mut A,
                arg: &[u8],
            ) -> Result<Reply, AdminError> {
                let ($($arg,)*): ($($type,)*) = decode(arg)?;
                let reply: $ok = access.with(|$fs, $settings, $call| $body)?;
                Ok(reply.into_reply())
            })*
        }

        #[cfg(target_family = "wasm")]
        mod exports {
            use super::Role;

            $(#[unsafe(export_name = concat!("canister_", $kind, " ", stringify!($name)))]
            extern "C" fn $name() {
                super::on_chain::serve(Role::$role, super::methods::$name);
            })*
        }

        fn method<A: Access>(name: &str) -> Option<(Role, Method<A>)> {
            match name {
                $(stringify!($name) => Some((Role::$role, methods::$name)),)*
                _ => None,
            }
        }

        /// The interface in candid, as the code has it. A test compares it with
        /// `candid/icwasi.did`.
        #[cfg(not(target_family = "wasm"))]
        pub fn interface() -> String {
            use candid::types::internal::TypeContainer;
            use candid::types::{FuncMode, Function, Type, TypeInner};
            let mut types = TypeContainer::new();
            let mut methods: Vec<(String, Type)> = vec![$({
                let function = Function {
                    modes: if $kind == "query" { vec![FuncMode::Query] } else { Vec::new() },
                    args: vec![$(types.add::<$type>()),*],
                    rets: vec![types.add::<Result<$ok, AdminError>>()],
                };
                (stringify!($name).into(), TypeInner::Func(function).into())
            }),*];
            methods.sort_by(|a, b| a.0.cmp(&b.0));
            let service: Type = TypeInner::Service(methods).into();
            candid::pretty::candid::compile(&types.env, &Some(service))
        }
    };
}

endpoints! {
    "query" Reader icwasi_info() -> icwasi_types::Info,
        |fs, settings, _call| manage::info(fs, settings);
    "query" Reader icwasi_stat(path: &str) -> icwasi_types::Stat,
        |fs, _settings, _call| manage::stat(fs, path);
    "query" Reader icwasi_list(path: &str, cursor: Option<u64>, limit: u32) -> icwasi_types::ListPage,
        |fs, _settings, _call| manage::list(fs, path, cursor, limit);
    "query" Reader icwasi_read(path: &str, offset: u64, length: u64) -> icwasi_types::ReadReply,
        |fs, _settings, _call| download::read(fs, path, offset, length);
    "update" Writer icwasi_upload_begin(request: UploadRequest) -> icwasi_types::Upload,
        |fs, _settings, call| upload::begin(fs, &call.caller, call.now, &request);
    "update" Writer icwasi_upload_chunk(id: UploadId, offset: u64, data: &Bytes) -> (),
        |fs, _settings, call| upload::chunk(fs, &call.caller, call.now, id, offset, data);
    "update" Writer icwasi_upload_commit(id: UploadId) -> icwasi_types::Stat,
        |fs, _settings, call| upload::commit(fs, &call.caller, call.now, id);
    "update" Writer icwasi_upload_abort(id: UploadId) -> (),
        |fs, settings, call| match auth::role(&call.caller, settings) {
            Some(Role::Admin) => upload::abort(fs, id),
            _ => upload::abort_own(fs, &call.caller, id),
        };
    "update" Writer icwasi_mkdir(path: &str, parents: bool) -> (),
        |fs, _settings, _call| manage::mkdir(fs, path, parents);
    "update" Writer icwasi_remove(path: &str, recursive: bool) -> icwasi_types::Removed,
        |fs, _settings, _call| remove::remove(fs, path, recursive);
    "update" Writer icwasi_rename(source: &str, target: &str, overwrite: bool) -> (),
        |fs, _settings, _call| manage::rename(fs, source, target, overwrite);
    "query" Reader icwasi_fsck(part: u32, rest: Option<&Bytes>, instructions: Option<u64>)
        -> icwasi_types::CheckedPart,
        |fs, _settings, call|
            fsck::fsck(fs, part, rest.map(|rest| &rest[..]), instructions, call.instructions);
    "update" Admin icwasi_quota_set(quota: Quota) -> (),
        |fs, settings, call| settings::quota_set(fs, settings, quota, call.linked_quota);
    "query" Admin icwasi_env_list() -> Vec<icwasi_types::Variable>,
        |_fs, settings, _call| Ok(settings::env_list(settings));
    "update" Admin icwasi_env_set(changes: Vec<VariableChange>) -> (),
        |fs, settings, _call| settings::env_set(fs, settings, &changes);
    "query" Admin icwasi_access_list() -> Vec<icwasi_types::Grant>,
        |_fs, settings, _call| Ok(settings::access_list(settings));
    "update" Admin icwasi_access_grant(grantee: Principal, role: Role) -> (),
        |fs, settings, _call| settings::access_grant(fs, settings, grantee, role);
    "update" Admin icwasi_access_revoke(grantee: Principal) -> (),
        |fs, settings, _call| settings::access_revoke(fs, settings, grantee);
}

/// Calls the method `name` as the IC would: `None` if there is no such method.
pub fn dispatch<M: Memory>(fs: &mut Fs<M>, call: &Call, name: &str, arg: &[u8]) -> Option<Reply> {
    struct Local<'a, M: Memory>(&'a mut Fs<M>, &'a mut Settings, &'a Call);

    impl<M: Memory> Access for Local<'_, M> {
        type Memory = M;

        fn with<R>(
            &mut self,
            work: impl FnOnce(&mut Fs<M>, &mut Settings, &Call) -> Result<R, AdminError>,
        ) -> Result<R, AdminError> {
            work(self.0, self.1, self.2)
        }
    }

    let (role, method) = method::<Local<'_, M>>(name)?;
    let mut settings = Settings::load(fs);
    let result = authorize(&call.caller, &settings, role)
        .and_then(|()| method(&mut Local(fs, &mut settings, call), arg));
    Some(result.unwrap_or_else(Reply::refuse))
}

/// The edge to the System API.
#[cfg(target_family = "wasm")]
mod on_chain {
    use super::*;
    use crate::env::Env as _;
    use crate::runtime::{self, AnyMemory};

    pub(super) struct OnChain(Caller);

    impl Access for OnChain {
        type Memory = AnyMemory;

        fn with<R>(
            &mut self,
            work: impl FnOnce(&mut Fs<AnyMemory>, &mut Settings, &Call) -> Result<R, AdminError>,
        ) -> Result<R, AdminError> {
            runtime::with(|runtime| {
                let call = Call {
                    caller: self.0.clone(),
                    now: runtime.now(),
                    linked_quota: runtime.config().quota_bytes,
                    instructions: || crate::env::Platform::default().instructions(),
                };
                let (fs, settings) = runtime.fs_and_settings().map_err(|error| AdminError::Io {
                    errno: 29,
                    message: format!("the file system cannot be mounted: {error}"),
                })?;
                work(fs, settings, &call)
            })
        }
    }

    /// Answers the message that is being executed with `method`.
    pub(super) fn serve(role: Role, method: Method<OnChain>) {
        let caller = caller();
        let result = may(&caller, role).and_then(|()| method(&mut OnChain(caller), &argument()));
        let reply = result.unwrap_or_else(Reply::refuse);
        for piece in reply.pieces() {
            if !piece.is_empty() {
                ::ic0::msg_reply_data_append(piece);
            }
        }
        ::ic0::msg_reply();
    }

    /// [`authorize`] with what was granted: it is at hand since the install or upgrade, which
    /// mounted the file system.
    fn may(caller: &Caller, role: Role) -> Result<(), AdminError> {
        runtime::with(|runtime| authorize(caller, runtime.settings(), role))
    }

    fn caller() -> Caller {
        let (bytes, is_controller) = runtime::with(|runtime| {
            let bytes = runtime.env().caller();
            let is_controller = runtime.env().is_controller(&bytes);
            (bytes, is_controller)
        });
        match Principal::try_from_slice(&bytes) {
            Ok(principal) => Caller {
                principal,
                is_controller,
            },
            Err(_) => Caller {
                principal: Principal::anonymous(),
                is_controller: false,
            },
        }
    }

    fn argument() -> Vec<u8> {
        let size = ::ic0::msg_arg_data_size();
        let mut bytes = Vec::with_capacity(size);
        ::ic0::msg_arg_data_copy_uninit(&mut bytes.spare_capacity_mut()[..size], 0);
        // SAFETY: the capacity is at least `size`, and the call above wrote so many bytes.
        unsafe { bytes.set_len(size) };
        bytes
    }

    /// In `inspect_message`: 0 if the message is for the guest, 1 if it is for an admin method.
    /// Then it is accepted if the caller may call it.
    #[unsafe(export_name = "icwasi.inspect")]
    extern "C" fn inspect() -> i32 {
        let size = ::ic0::msg_method_name_size();
        let mut name = [0; 32];
        if size > name.len() {
            return 0;
        }
        ::ic0::msg_method_name_copy(&mut name[..size], 0);
        let method = str::from_utf8(&name[..size])
            .ok()
            .and_then(method::<OnChain>);
        let Some((role, _)) = method else {
            return 0;
        };
        if may(&caller(), role).is_ok() {
            ::ic0::accept_message();
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_candid() {
        #[derive(CandidType)]
        enum Only {
            NotAuthorized,
        }
        let plain = candid::encode_one(Refused::Err(Only::NotAuthorized)).expect("encodes");
        assert_eq!(
            Reply::refuse(AdminError::NotAuthorized).pieces().concat(),
            plain
        );
    }

    #[test]
    fn read_replies_are_candid() {
        for length in [0, 1, 127, 128, 300, 20_000, 1_835_008] {
            let data = ByteBuf::from((0..length).map(|i| i as u8).collect::<Vec<u8>>());
            let reply = icwasi_types::ReadReply {
                data,
                size: 1 << 40,
                version: 7,
            };
            let plain = candid::encode_one(Done::Ok(reply.clone())).expect("encodes");
            assert_eq!(reply.into_reply().pieces().concat(), plain);
        }
    }
}
