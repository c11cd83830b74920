// O_CREAT and O_EXCL.
#include "common.h"

int main(int argc, char **argv) {
    show("create", open("new", O_WRONLY | O_CREAT | O_EXCL, 0644));
    show("again", open("new", O_WRONLY | O_CREAT | O_EXCL, 0644));
    show("without excl", open("new", O_WRONLY | O_CREAT, 0644));
    mkdir("dir", 0755);
    show("a directory", open("dir", O_WRONLY | O_CREAT | O_EXCL, 0644));
    symlink("nothing", "dangling");
    show("a link to nothing", open("dangling", O_WRONLY | O_CREAT | O_EXCL, 0644));
    symlink("new", "link");
    show("a link", open("link", O_WRONLY | O_CREAT | O_EXCL, 0644));
    show("in a missing directory", open("gone/new", O_WRONLY | O_CREAT, 0644));
    show("below a file", open("new/x", O_WRONLY | O_CREAT, 0644));
    show("missing", open("missing", O_RDONLY));
    ls(".");
    return 0;
}
