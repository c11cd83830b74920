// rename of files.
#include "common.h"

int main(int argc, char **argv) {
    put("a", "A");
    put("b", "B");
    mkdir("d", 0755);
    show("to itself", rename("a", "a"));
    cat("a");
    show("over a file", rename("a", "b"));
    cat("b");
    show("missing", rename("a", "c"));
    show("into a directory", rename("b", "d/b"));
    show("into a missing directory", rename("d/b", "x/b"));
    show("over a directory", rename("d/b", "d"));
    put("c", "C");
    show("file over directory", rename("c", "d"));
    show("slash behind the new name", rename("c", "e/"));
    show("slash behind the old name", rename("c/", "e"));
    int fd = open("c", O_RDONLY);
    put("n", "N");
    show("over an open file", rename("n", "c"));
    char buf[4] = {0};
    value("the old one is readable", read(fd, buf, 3));
    puts(buf);
    cat("c");
    show("below a file", rename("c", "d/b/x"));
    ls(".");
    ls("d");
    return 0;
}
