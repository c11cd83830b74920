// A directory is no file.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("d", 0755);
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    uint8_t buf[4];
    __wasi_size_t n;
    __wasi_iovec_t in = {buf, 4};
    __wasi_ciovec_t out = {buf, 4};
    raw("read", __wasi_fd_read(dir, &in, 1, &n));
    raw("write", __wasi_fd_write(dir, &out, 1, &n));
    raw("pread", __wasi_fd_pread(dir, &in, 1, 0, &n));
    raw("pwrite", __wasi_fd_pwrite(dir, &out, 1, 0, &n));
    raw("set_size", __wasi_fd_filestat_set_size(dir, 0));
    raw("advise", __wasi_fd_advise(dir, 0, 0, 0));
    show("set times", futimens(dir, NULL));
    show("mkdirat", mkdirat(dir, "e", 0755));
    show("openat", openat(dir, "f", O_WRONLY | O_CREAT, 0644));
    show("symlinkat", symlinkat("f", dir, "l"));
    show("linkat", linkat(dir, "f", dir, "g", 0));
    show("renameat", renameat(dir, "g", dir, "h"));
    struct stat st;
    show("fstatat", fstatat(dir, "l", &st, AT_SYMLINK_NOFOLLOW));
    printf("link: %d\n", S_ISLNK(st.st_mode));
    show("unlinkat", unlinkat(dir, "h", 0));
    show("unlinkat directory", unlinkat(dir, "e", AT_REMOVEDIR));
    ls("d");
    int file = openat(dir, "f", O_RDONLY);
    show("openat a file", openat(file, "x", O_RDONLY));
    return 0;
}
