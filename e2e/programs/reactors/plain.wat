;; A canister without WASI, in whose table every slot spoils the result.
(module
  (type $callback (func (param i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory (export "memory") 1)
  (table (export "table") 1000 funcref)
  (elem (i32.const 0) $spoil $spoil $spoil $spoil $spoil $spoil $spoil $spoil $spoil $spoil)
  (func $spoil (type $callback) (i32.store (i32.const 0) (i32.const 1)))
  (func (export "canister_update spoilt")
    (call $append (i32.const 0) (i32.const 4))
    (call $reply)))
