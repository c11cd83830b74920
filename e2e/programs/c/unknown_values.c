// Numbers that are no clock, no whence, no signal...: an error, not a trap.
#include "common.h"

// Older libcs do not declare it.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_raise"))) int proc_raise(int signal);

int main(int argc, char **argv) {
    put("f", "");
    int fd = open("f", O_RDWR);
    __wasi_timestamp_t t;
    __wasi_filesize_t at;
    __wasi_size_t n;
    __wasi_subscription_t s;
    __wasi_event_t e;
    memset(&s, 0, sizeof s);
    s.u.u.clock.id = 99;
    raw("clock_time_get", __wasi_clock_time_get(17, 0, &t));
    raw("clock_res_get", __wasi_clock_res_get(17, &t));
    raw("poll_oneoff", __wasi_poll_oneoff(&s, &e, 1, &n));
    raw("fd_advise", __wasi_fd_advise(fd, 0, 0, 17));
    raw("fd_seek", __wasi_fd_seek(fd, 0, 9, &at));
    raw("fd_fdstat_set_flags", __wasi_fd_fdstat_set_flags(fd, 0x400));
    raw("proc_raise", proc_raise(100));
    return 0;
}
