// poll_oneoff on what cannot be polled.
#include "common.h"

int main(int argc, char **argv) {
    __wasi_subscription_t s;
    __wasi_event_t e;
    __wasi_size_t n = 0;
    int fds[] = {ROOT, 99};
    for (int i = 0; i < 2; i++) {
        memset(&s, 0, sizeof s);
        s.u.tag = __WASI_EVENTTYPE_FD_READ;
        s.u.u.fd_read.file_descriptor = fds[i];
        raw("read", __wasi_poll_oneoff(&s, &e, 1, &n));
    }
    return 0;
}
