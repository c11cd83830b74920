// A directory that is open can be removed; nothing can be made in it any more.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("d", 0755);
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    show("rmdir", rmdir("d"));
    show("create", openat(fd, "x", O_WRONLY | O_CREAT, 0644));
    show("mkdirat", mkdirat(fd, "x", 0755));
    struct stat st;
    show("fstat", fstat(fd, &st));
    show("close", close(fd));
    ls(".");
    return 0;
}
