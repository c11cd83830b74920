// lseek: before the start, beyond the end, overflow.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "0123456789");
    int fd = open("f", O_RDWR);
    value("set", lseek(fd, 3, SEEK_SET));
    value("cur", lseek(fd, 2, SEEK_CUR));
    value("back", lseek(fd, -4, SEEK_CUR));
    value("end", lseek(fd, -1, SEEK_END));
    value("beyond", lseek(fd, 100, SEEK_END));
    value("read there", read(fd, (char[1]){0}, 1));
    value("before", lseek(fd, -1, SEEK_SET));
    value("before, from the end", lseek(fd, -11, SEEK_END));
    value("cursor is where it was", lseek(fd, 0, SEEK_CUR));
    value("far", lseek(fd, INT64_MAX, SEEK_SET));
    value("too far", lseek(fd, 1, SEEK_CUR));
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    __wasi_filesize_t at;
    raw("directory", __wasi_fd_seek(dir, 0, __WASI_WHENCE_SET, &at));
    raw("closed", __wasi_fd_seek(77, 0, __WASI_WHENCE_SET, &at));
    raw("tell closed", __wasi_fd_tell(77, &at));
    lseek(fd, 4, SEEK_SET);
    raw("tell", __wasi_fd_tell(fd, &at));
    value("at", at);
    return 0;
}
