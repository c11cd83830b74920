// A closed descriptor.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "x");
    int fd = open("f", O_RDWR);
    show("close", close(fd));
    show("again", close(fd));
    value("read", read(fd, (char[1]){0}, 1));
    value("write", write(fd, "x", 1));
    struct stat st;
    show("fstat", fstat(fd, &st));
    show("ftruncate", ftruncate(fd, 0));
    show("openat", openat(fd, "f", O_RDONLY));
    raw("readdir", __wasi_fd_readdir(fd, (uint8_t[32]){0}, 32, 0, &(__wasi_size_t){0}));
    raw("allocate", __wasi_fd_allocate(fd, 0, 1));
    raw("prestat", __wasi_fd_prestat_get(fd, &(__wasi_prestat_t){0}));
    show("close stdin", close(0));
    value("read stdin", read(0, (char[1]){0}, 1));
    show("negative", close(-1));
    return 0;
}
