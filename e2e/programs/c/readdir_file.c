// fd_readdir of what is no directory.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "");
    uint8_t buf[64];
    __wasi_size_t n;
    raw("file", __wasi_fd_readdir(open("f", O_RDONLY), buf, 64, 0, &n));
    raw("stdout", __wasi_fd_readdir(1, buf, 64, 0, &n));
    return 0;
}
