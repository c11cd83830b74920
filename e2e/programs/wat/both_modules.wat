;; A program that imports from both modules, and one function twice.
(module
  (import "wasi_unstable" "fd_write" (func $old (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $again (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "old\0anew\0a")
  (data (i32.const 48) "\20\00\00\00\04\00\00\00")
  (data (i32.const 56) "\24\00\00\00\04\00\00\00")
  (func (export "_start")
    (drop (call $old (i32.const 1) (i32.const 48) (i32.const 1) (i32.const 0)))
    (drop (call $write (i32.const 1) (i32.const 56) (i32.const 1) (i32.const 0)))
    (drop (call $again (i32.const 1) (i32.const 48) (i32.const 1) (i32.const 0)))))
