;; `wasi_unstable`: arguments and output.
(module
  (import "wasi_unstable" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_unstable" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $args (i32.const 64) (i32.const 1024)))
    (i32.store (i32.const 16) (i32.const 1024))
    (i32.store (i32.const 20) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))
    (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 32)))))
