;; A canister whose own table has all the slots that icwasi could use.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory (export "memory") 1)
  (table 65536 funcref)
  (elem (i32.const 65535) $get)
  (func $get
    (drop (call $random (i32.const 64) (i32.const 32)))
    (call $append (i32.const 64) (i32.const 32))
    (call $reply))
  (func (export "canister_update random") (call_indirect (i32.const 65535))))
