// proc_raise: there are no signals.
#include "common.h"

// Older libcs do not declare it.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_raise"))) int proc_raise(int signal);

int main(int argc, char **argv) {
    raw("SIGTERM", proc_raise(15));
    raw("none", proc_raise(0));
    return 0;
}
