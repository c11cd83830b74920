// mkdir and rmdir.
#include "common.h"

int main(int argc, char **argv) {
    show("mkdir", mkdir("d", 0755));
    show("again", mkdir("d", 0755));
    show("slash", mkdir("slash/", 0755));
    show("missing parent", mkdir("x/y", 0755));
    show("nested", mkdir("d/e", 0755));
    put("f", "");
    show("over a file", mkdir("f", 0755));
    show("below a file", mkdir("f/x", 0755));
    show("rmdir not empty", rmdir("d"));
    show("rmdir file", rmdir("f"));
    show("rmdir missing", rmdir("nope"));
    show("rmdir slash", rmdir("slash/"));
    show("rmdir nested", rmdir("d/e"));
    symlink("d", "link");
    show("rmdir link", rmdir("link"));
    show("mkdir link", mkdir("link", 0755));
    show("rmdir", rmdir("d"));
    show("mkdir through a link to nothing", mkdir("link", 0755));
    raw("rmdir dot", __wasi_path_remove_directory(ROOT, ".") );
    ls(".");
    return 0;
}
