(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func (result i32)))
  (type (;3;) (func (param i32)))
  (type (;4;) (func))
  (import "ic0" "debug_print" (func $ic0.debug_print (;0;) (type 1)))
  (memory (;0;) 1)
  (export "memory" (memory 0))
  (export "canister_update go" (func $"icwasi_link.canister_update go"))
  (export "canister_init" (func $icwasi_link.canister_init))
  (export "canister_post_upgrade" (func $icwasi_link.canister_post_upgrade))
  (func (;1;) (type 0) (param i32) (result i32)
    i32.const 17
    i32.const 5
    call $ic0.debug_print
    i32.const 0
  )
  (func (;2;) (type 4)
    i32.const 0
    i32.const 5
    call $ic0.debug_print
  )
  (func (;3;) (type 4)
    i32.const 5
    i32.const 5
    call $ic0.debug_print
  )
  (func (;4;) (type 3) (param i32)
    i32.const 1024
    call $icwasi_link.config_copy
    i32.const 1024
    i32.const 4
    call $ic0.debug_print
  )
  (func (;5;) (type 3) (param i32)
    i32.const 10
    i32.const 5
    call $ic0.debug_print
  )
  (func (;6;) (type 2) (result i32)
    i32.const 1
  )
  (func (;7;) (type 4)
    call $icwasi_link.config_size
    call 1
    drop
  )
  (func (;8;) (type 4)
    i32.const 15
    i32.const 2
    call $ic0.debug_print
  )
  (func $icwasi_link.config_size (;9;) (type 2) (result i32)
    i32.const 79
  )
  (func $icwasi_link.config_copy (;10;) (type 3) (param i32)
    local.get 0
    i32.const 0
    i32.const 79
    memory.init 1
  )
  (func $"icwasi_link.canister_update go" (;11;) (type 4)
    call 2
    call 7
    call 3
  )
  (func $icwasi_link.canister_init (;12;) (type 4)
    call 2
    i32.const 0
    call 4
    i32.const 0
    call 5
    call 3
  )
  (func $icwasi_link.canister_post_upgrade (;13;) (type 4)
    call 2
    i32.const 1
    call 4
    i32.const 1
    call 5
    call 3
  )
  (data (;0;) (i32.const 0) "enterleavestartupclose")
  (data (;1;) "DIDL\07l\06\ed\87\b4\02\01\e6\9c\ee\83\02\03\dd\9a\d2\83\04\05\98\ce\c7\e7\07z\e4\d9\fe\86\0a\06\c3\df\85\d6\0d\06m\02l\02\00q\01qm\04l\02\b5\fc\f5\d3\03~\a5\cb\c7\d2\04qmqnx\01\00\00\00\00\01\00\00\00")
  (@custom "icwasi:linked" (after data) "VERSION")
)
