// More buffers than there may be.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "content");
    int fd = open("f", O_RDWR);
    static __wasi_ciovec_t many[5000];
    static uint8_t byte = 'x';
    for (int i = 0; i < 5000; i++)
        many[i].buf = &byte, many[i].buf_len = 0;
    __wasi_size_t n = 77;
    int error = __wasi_fd_write(fd, many, 5000, &n);
    printf("refused or nothing written: %d\n", error != 0 || n == 0);
    cat("f");
    return 0;
}
