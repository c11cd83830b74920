// Hard links.
#include "common.h"

static void links(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        show(path, -1);
    else
        printf("%s has %d links\n", path, (int)st.st_nlink);
}

int main(int argc, char **argv) {
    put("a", "one");
    show("link", link("a", "b"));
    links("a");
    struct stat a, b;
    stat("a", &a), stat("b", &b);
    printf("one inode: %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    int fd = open("b", O_WRONLY | O_TRUNC);
    write(fd, "two", 3);
    cat("a");
    show("existing", link("a", "b"));
    show("missing", link("nope", "c"));
    mkdir("d", 0755);
    show("directory", link("d", "e"));
    show("into", link("a", "d/a"));
    show("slash", link("a", "f/"));
    links("a");
    unlink("a");
    links("b");
    symlink("b", "s");
    show("of a link", link("s", "t"));
    struct stat st;
    show("lstat", lstat("t", &st));
    printf("it is a link: %d\n", S_ISLNK(st.st_mode));
    cat("d/a");
    ls(".");
    return 0;
}
