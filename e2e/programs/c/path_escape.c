// No path leaves the directory that it is resolved from.
#include "common.h"

static void try(const char *path) {
    __wasi_fd_t fd;
    int error = __wasi_path_open(ROOT, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, path, 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd);
    printf("%s: errno %d\n", path, error);
}

int main(int argc, char **argv) {
    mkdir("d", 0755);
    put("f", "");
    try("..");
    try("../x");
    try("d/../..");
    try("d/../../x");
    try("/f");
    try("/");
    symlink("..", "up");
    try("up");
    try("up/x");
    symlink("d/../..", "far");
    try("far/x");
    int d = open("d", O_RDONLY | O_DIRECTORY);
    __wasi_fd_t fd;
    raw("from a directory", __wasi_path_open(d, 1, "../f", 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd));
    symlink("../f", "d/link");
    raw("by a link", __wasi_path_open(d, 1, "link", 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd));
    raw("the same from above", __wasi_path_open(ROOT, 1, "d/link", 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd));
    raw("rename out", __wasi_path_rename(ROOT, "f", d, "../../f"));
    raw("mkdir out", __wasi_path_create_directory(ROOT, "../x"));
    raw("unlink out", __wasi_path_unlink_file(d, "../f"));
    raw("symlink out", __wasi_path_symlink("x", ROOT, "../x"));
    raw("link out", __wasi_path_link(ROOT, 0, "f", d, "../g"));
    ls(".");
    return 0;
}
