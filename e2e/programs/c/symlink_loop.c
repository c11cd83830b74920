// Links that lead to themselves, and long chains.
#include "common.h"

int main(int argc, char **argv) {
    symlink("a", "a");
    show("itself", open("a", O_RDONLY));
    symlink("c", "b");
    symlink("b", "c");
    show("two", open("b", O_RDONLY));
    show("in the middle", open("b/x", O_RDONLY));
    struct stat st;
    show("stat", stat("b", &st));
    show("lstat", lstat("b", &st));
    put("l0", "end of the chain");
    for (int i = 1; i <= 30; i++) {
        char from[8], to[8];
        sprintf(from, "l%d", i);
        sprintf(to, "l%d", i - 1);
        symlink(to, from);
    }
    cat("l30");
    symlink(".", "dot");
    cat("dot/dot/dot/dot/l0");
    return 0;
}
