// The preopened directory.
#include "common.h"

int main(int argc, char **argv) {
    __wasi_prestat_t p;
    uint8_t name[16] = {0};
    raw("get", __wasi_fd_prestat_get(ROOT, &p));
    printf("%d %d\n", p.tag, (int)p.u.dir.pr_name_len);
    raw("name", __wasi_fd_prestat_dir_name(ROOT, name, 1));
    printf("%s\n", name);
    raw("no room", __wasi_fd_prestat_dir_name(ROOT, name, 0));
    raw("the next", __wasi_fd_prestat_get(ROOT + 1, &p));
    raw("stdout", __wasi_fd_prestat_get(1, &p));
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    raw("opened", __wasi_fd_prestat_get(dir, &p));
    return 0;
}
