// What a descriptor was not opened for fails; what was not asked for at path_open does not.
#include "common.h"

static int try(const char *what, __wasi_oflags_t oflags, __wasi_rights_t base) {
    __wasi_fd_t fd = 0;
    int error = __wasi_path_open(ROOT, 0, "f", oflags, base, 0, 0, &fd);
    printf("%s: errno %d\n", what, error);
    return error ? -1 : (int)fd;
}

int main(int argc, char **argv) {
    put("f", "content");
    int none = try("no rights", 0, 0);
    int rd = try("reading", 0, __WASI_RIGHTS_FD_READ);
    int wr = try("writing", 0, __WASI_RIGHTS_FD_WRITE);
    try("all", 0, 0x1fffffff);
    uint8_t buf[8];
    __wasi_size_t n;
    __wasi_iovec_t in = {buf, 8};
    __wasi_ciovec_t out = {buf, 1};
    raw("read what was opened for writing", __wasi_fd_read(wr, &in, 1, &n));
    raw("write what was opened for reading", __wasi_fd_write(rd, &out, 1, &n));
    raw("write what was opened for nothing", __wasi_fd_write(none, &out, 1, &n));
    raw("cut what was opened for reading", __wasi_fd_filestat_set_size(rd, 0));
    __wasi_filesize_t at;
    raw("seek", __wasi_fd_seek(rd, 1, __WASI_WHENCE_SET, &at));
    __wasi_fd_t dir;
    raw("a directory without rights", __wasi_path_open(ROOT, 0, ".", __WASI_OFLAGS_DIRECTORY, 0, 0, 0, &dir));
    raw("a file from it", __wasi_path_open(dir, 0, "f", 0, __WASI_RIGHTS_FD_READ, 0, 0, &dir));
    raw("a directory for writing", __wasi_path_open(ROOT, 0, ".", 0, __WASI_RIGHTS_FD_WRITE, 0, 0, &dir));
    cat("f");
    return 0;
}
