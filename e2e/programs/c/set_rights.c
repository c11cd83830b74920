// fd_fdstat_set_rights: giving up rights is accepted.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "x");
    int fd = open("f", O_RDWR);
    __wasi_fdstat_t st;
    raw("get", __wasi_fd_fdstat_get(fd, &st));
    raw("the same", __wasi_fd_fdstat_set_rights(fd, st.fs_rights_base, 0));
    raw("fewer", __wasi_fd_fdstat_set_rights(fd, __WASI_RIGHTS_FD_READ, 0));
    raw("more", __wasi_fd_fdstat_set_rights(fd, 0x1fffffff, 0));
    raw("closed", __wasi_fd_fdstat_set_rights(99, 0, 0));
    value("read", read(fd, (char[1]){0}, 1));
    return 0;
}
