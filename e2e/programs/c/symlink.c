// Symbolic links in the middle and at the end of a path.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("d", 0755);
    put("d/f", "content");
    show("to a directory", symlink("d", "ld"));
    show("to a file", symlink("d/f", "lf"));
    show("relative to the link", symlink("f", "d/lf"));
    show("up", symlink("../d/f", "d/up"));
    show("to nothing", symlink("nothing", "dangling"));
    show("existing", symlink("x", "lf"));
    show("absolute", symlink("/d/f", "abs"));
    show("empty", symlink("", "empty"));
    show("missing parent", symlink("x", "gone/l"));
    cat("ld/f");
    cat("lf");
    cat("d/lf");
    cat("ld/up");
    cat("dangling");
    show("not followed", open("lf", O_RDONLY | O_NOFOLLOW));
    show("create through it", open("dangling", O_WRONLY | O_CREAT, 0644));
    ls(".");
    ls("ld");
    ls("ld/");
    show("unlink what it leads to", unlink("nothing"));
    struct stat st;
    show("stat", stat("dangling", &st));
    show("lstat", lstat("dangling", &st));
    value("its size", st.st_size);
    show("rmdir with a slash", rmdir("ld/"));
    return 0;
}
