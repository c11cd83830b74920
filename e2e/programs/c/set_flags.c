// fd_fdstat_set_flags where it does not apply.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "");
    int fd = open("f", O_RDWR);
    raw("nonblock", __wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_NONBLOCK));
    raw("append", __wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_APPEND));
    raw("none", __wasi_fd_fdstat_set_flags(fd, 0));
    raw("dsync", __wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_DSYNC));
    raw("directory", __wasi_fd_fdstat_set_flags(ROOT, 0));
    raw("closed", __wasi_fd_fdstat_set_flags(99, 0));
    return 0;
}
