// A slash at the end asks for a directory.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("d", 0755);
    put("f", "");
    symlink("d", "ld");
    symlink("f", "lf");
    show("open directory", open("d/", O_RDONLY));
    show("open file", open("f/", O_RDONLY));
    show("open link to a directory", open("ld/", O_RDONLY));
    show("open link to a file", open("lf/", O_RDONLY));
    show("create", open("new/", O_WRONLY | O_CREAT, 0644));
    show("O_DIRECTORY on a file", open("f", O_RDONLY | O_DIRECTORY));
    show("O_DIRECTORY on a directory", open("d", O_RDONLY | O_DIRECTORY));
    show("writing a directory", open("d", O_WRONLY));
    struct stat st;
    show("stat file", stat("f/", &st));
    show("lstat link", lstat("ld/", &st));
    printf("a directory: %d\n", S_ISDIR(st.st_mode));
    ls(".");
    return 0;
}
