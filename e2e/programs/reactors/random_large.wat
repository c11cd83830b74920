;; The same canister with another layout: other functions first, and a table of its own whose
;; functions spoil the result if they are called.
(module
  (type $callback (func (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory (export "memory") 3)
  (table 400 funcref)
  (elem (i32.const 0) $spoil $spoil $spoil $spoil $spoil $spoil $spoil $spoil $spoil $spoil)
  (global $spoilt (mut i32) (i32.const 0))
  (func $spoil (type $callback) (global.set $spoilt (i32.const 1)))
  (func $get
    (if (global.get $spoilt) (then unreachable))
    (drop (call $random (i32.const 70000) (i32.const 32)))
    (call $append (i32.const 70000) (i32.const 32))
    (call $reply))
  (func (export "canister_update random") (call $get))
  (func (export "canister_query peek") (call $get)))
