// Standard streams have no position.
#include "common.h"

int main(int argc, char **argv) {
    fflush(stdout);
    for (int fd = 0; fd < 3; fd++) {
        value("seek", lseek(fd, 0, SEEK_CUR));
        value("pread", pread(fd, (char[1]){0}, 1, 0));
        value("pwrite", pwrite(fd, "x", 1, 0));
        __wasi_filesize_t at;
        raw("tell", __wasi_fd_tell(fd, &at));
    }
    value("read stdout", read(1, (char[1]){0}, 1));
    value("write stdin", write(0, "x", 1));
    show("truncate stdout", ftruncate(1, 0));
    return 0;
}
