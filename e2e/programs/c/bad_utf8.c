// Names that are not UTF-8.
#include "common.h"

int main(int argc, char **argv) {
    __wasi_fd_t fd;
    raw("open", __wasi_path_open(ROOT, 0, "a\xff", __WASI_OFLAGS_CREAT, __WASI_RIGHTS_FD_WRITE, 0, 0, &fd));
    raw("mkdir", __wasi_path_create_directory(ROOT, "\xc3("));
    raw("unlink", __wasi_path_unlink_file(ROOT, "\xe2\x82"));
    raw("symlink", __wasi_path_symlink("ok", ROOT, "\x80"));
    put("gr\xc3\xbc\xc3\x9f" "e", "UTF-8");
    put("\xe6\x97\xa5\xe6\x9c\xac", "");
    put("with space", "");
    put("-", "");
    put("a\\b", "");
    put("new\nline", "");
    ls(".");
    return 0;
}
