// Two names of one file: rename does nothing. Links are moved themselves.
#include "common.h"

int main(int argc, char **argv) {
    put("a", "A");
    link("a", "b");
    show("two names", rename("a", "b"));
    ls(".");
    symlink("a", "s");
    show("link", rename("s", "t"));
    char buf[8] = {0};
    value("readlink", readlink("t", buf, 7));
    puts(buf);
    put("c", "C");
    show("over a link", rename("c", "t"));
    cat("t");
    cat("a");
    symlink("a", "u");
    show("a link over its target", rename("u", "a"));
    cat("b");
    ls(".");
    return 0;
}
