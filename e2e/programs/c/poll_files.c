// poll_oneoff: files and standard streams are ready.
#include "common.h"

static void fd_in(__wasi_subscription_t *s, int kind, int fd) {
    memset(s, 0, sizeof *s);
    s->userdata = 100 + fd;
    s->u.tag = kind;
    s->u.u.fd_read.file_descriptor = fd;
}

static void poll_one(const char *what, int kind, int fd) {
    __wasi_subscription_t s;
    __wasi_event_t e;
    memset(&e, 0, sizeof e);
    __wasi_size_t n = 0;
    fd_in(&s, kind, fd);
    int error = __wasi_poll_oneoff(&s, &e, 1, &n);
    printf("%s: errno %d, %d event", what, error, (int)n);
    if (!error)
        printf(", userdata %d, error %d, kind %d", (int)e.userdata - 100 == fd, e.error, e.type);
    printf("\n");
}

int main(int argc, char **argv) {
    put("f", "0123456789");
    int fd = open("f", O_RDWR);
    poll_one("file for reading", __WASI_EVENTTYPE_FD_READ, fd);
    poll_one("file for writing", __WASI_EVENTTYPE_FD_WRITE, fd);
    poll_one("stdout", __WASI_EVENTTYPE_FD_WRITE, 1);
    poll_one("stderr", __WASI_EVENTTYPE_FD_WRITE, 2);
    poll_one("stdin", __WASI_EVENTTYPE_FD_READ, 0);
    __wasi_subscription_t s[2];
    __wasi_event_t e[2];
    __wasi_size_t n = 0;
    fd_in(&s[0], __WASI_EVENTTYPE_FD_READ, fd);
    memset(&s[1], 0, sizeof s[1]);
    s[1].u.tag = __WASI_EVENTTYPE_CLOCK;
    s[1].u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
    s[1].u.u.clock.timeout = 60000000000;
    raw("a file and a minute", __wasi_poll_oneoff(s, e, 2, &n));
    printf("%d event of kind %d with %d bytes\n", (int)n, e[0].type, (int)e[0].fd_readwrite.nbytes);
    lseek(fd, 4, SEEK_SET);
    raw("after a seek", __wasi_poll_oneoff(s, e, 1, &n));
    printf("%d bytes\n", (int)e[0].fd_readwrite.nbytes);
    return 0;
}
