// What stat says about files, directories and links.
#include "common.h"

static void print(const char *path, int follow) {
    struct stat st;
    if ((follow ? stat : lstat)(path, &st) < 0) {
        show(path, -1);
        return;
    }
    const char *kind = S_ISREG(st.st_mode)   ? "file"
                       : S_ISDIR(st.st_mode) ? "directory"
                       : S_ISLNK(st.st_mode) ? "link"
                                             : "other";
    printf("%s: %s", path, kind);
    if (!S_ISDIR(st.st_mode))
        printf(", %lld bytes, %d links", (long long)st.st_size, (int)st.st_nlink);
    printf("\n");
}

int main(int argc, char **argv) {
    put("f", "12345");
    mkdir("d", 0755);
    symlink("f", "l");
    symlink("d", "ld");
    for (int follow = 0; follow < 2; follow++) {
        const char *paths[] = {"f", "d", "l", "ld", "ld/", "l/", "f/", "d/..", ".", "..", "/", "", "gone", "f/x"};
        for (int i = 0; i < 14; i++)
            print(paths[i], follow);
    }
    struct stat a, b;
    stat("d", &a);
    fstat(open("d", O_RDONLY | O_DIRECTORY), &b);
    printf("the same by descriptor: %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    show("stdin", fstat(0, &a));
    show("access", access("f", R_OK | W_OK));
    show("access missing", access("gone", F_OK));
    return 0;
}
