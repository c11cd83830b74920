// Pointers that lead out of the memory: an error, not a trap.
#include "common.h"

#define BAD ((void *)0xfffffff0)

int main(int argc, char **argv) {
    put("f", "content");
    int fd = open("f", O_RDWR);
    uint8_t buf[8];
    __wasi_size_t n;
    __wasi_iovec_t in = {BAD, 100};
    __wasi_ciovec_t out = {BAD, 100};
    raw("read into", __wasi_fd_read(fd, &in, 1, &n));
    raw("write from", __wasi_fd_write(fd, &out, 1, &n));
    in.buf = buf, in.buf_len = 4;
    raw("buffers", __wasi_fd_read(fd, BAD, 4, &n));
    raw("fdstat", __wasi_fd_fdstat_get(fd, BAD));
    raw("filestat", __wasi_fd_filestat_get(fd, BAD));
    raw("clock", __wasi_clock_time_get(0, 0, BAD));
    raw("random", __wasi_random_get(BAD, 100));
    raw("args", __wasi_args_sizes_get(BAD, &n));
    raw("poll", __wasi_poll_oneoff(BAD, BAD, 1, &n));
    raw("readdir", __wasi_fd_readdir(ROOT, BAD, 100, 0, &n));
    cat("f");
    return 0;
}
