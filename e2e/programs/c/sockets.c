// Socket calls on what is no socket.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "");
    int fds[] = {open("f", O_RDWR), ROOT, 0, 1, 99};
    const char *names[] = {"file", "directory", "stdin", "stdout", "closed"};
    uint8_t buf[4];
    for (int i = 0; i < 5; i++) {
        printf("%s\n", names[i]);
        __wasi_iovec_t in = {buf, 4};
        __wasi_ciovec_t out = {buf, 4};
        __wasi_size_t n;
        __wasi_roflags_t flags;
        raw("  recv", __wasi_sock_recv(fds[i], &in, 1, 0, &n, &flags));
        raw("  send", __wasi_sock_send(fds[i], &out, 1, 0, &n));
        raw("  shutdown", __wasi_sock_shutdown(fds[i], __WASI_SDFLAGS_RD));
    }
    return 0;
}
