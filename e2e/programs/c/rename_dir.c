// rename of directories.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("a", 0755);
    put("a/f", "in a");
    mkdir("empty", 0755);
    mkdir("full", 0755);
    put("full/x", "");
    put("file", "");
    show("over a full one", rename("a", "full"));
    show("over a file", rename("a", "file"));
    show("into itself", rename("a", "a/b"));
    mkdir("a/sub", 0755);
    show("into its child", rename("a", "a/sub/b"));
    show("over its parent", rename("a/sub", "a"));
    show("over an empty one", rename("a", "empty"));
    cat("empty/f");
    show("with slashes", rename("empty/", "moved/"));
    cat("moved/f");
    show("up", rename("moved/sub", "sub"));
    struct stat st;
    stat("sub/..", &st);
    struct stat root;
    stat(".", &root);
    printf("its parent is the root: %d\n", st.st_ino == root.st_ino);
    show("dot", rename(".", "x"));
    show("dot dot", rename("sub/..", "x"));
    ls(".");
    return 0;
}
