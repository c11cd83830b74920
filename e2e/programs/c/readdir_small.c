// fd_readdir with every small buffer: entries are cut, cookies go on.
#include "common.h"

static int entries(int dir, size_t size) {
    static uint8_t buf[4096];
    __wasi_dircookie_t cookie = 0;
    int count = 0;
    for (;;) {
        __wasi_size_t used = 0;
        int error = __wasi_fd_readdir(dir, buf, size, cookie, &used);
        if (error)
            return -error;
        size_t at = 0;
        while (at + sizeof(__wasi_dirent_t) <= used) {
            __wasi_dirent_t head;
            memcpy(&head, buf + at, sizeof head);
            if (at + sizeof head + head.d_namlen > used)
                break;
            at += sizeof head + head.d_namlen;
            cookie = head.d_next;
            count++;
        }
        if (used < size)
            return count;
        if (at == 0)
            return -1000;
    }
}

int main(int argc, char **argv) {
    for (int i = 0; i < 40; i++) {
        char name[64];
        snprintf(name, sizeof name, "%0*d", 1 + i, i);
        put(name, "");
    }
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    for (size_t size = 24 + 41; size < 400; size += 13)
        printf("%zu bytes: %d entries\n", size, entries(dir, size));
    printf("all at once: %d\n", entries(dir, 4096));
    printf("too small: %d\n", entries(dir, 20));
    __wasi_size_t used = 9;
    uint8_t buf[64];
    raw("no buffer", __wasi_fd_readdir(dir, buf, 0, 0, &used));
    value("used", used);
    return 0;
}
