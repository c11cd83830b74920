// Setting times.
#include "common.h"

static void print(const char *path) {
    struct stat st;
    lstat(path, &st);
    printf("%s: atime %lld.%09ld mtime %lld.%09ld\n", path, (long long)st.st_atim.tv_sec,
           st.st_atim.tv_nsec, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

int main(int argc, char **argv) {
    put("f", "x");
    struct timespec both[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    show("utimensat", utimensat(AT_FDCWD, "f", both, 0));
    print("f");
    struct timespec omit[2] = {{5, 6}, {0, UTIME_OMIT}};
    show("omit", utimensat(AT_FDCWD, "f", omit, 0));
    print("f");
    int fd = open("f", O_RDWR);
    struct timespec second[2] = {{0, UTIME_OMIT}, {7, 8}};
    show("futimens", futimens(fd, second));
    print("f");
    struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    show("now", futimens(fd, now));
    struct stat st;
    fstat(fd, &st);
    printf("now is after 2020: %d, mtime %lld\n", st.st_atim.tv_sec > 1577836800, (long long)st.st_mtim.tv_sec);
    write(fd, "y", 1);
    fstat(fd, &st);
    printf("a write sets mtime: %d\n", st.st_mtim.tv_sec > 1577836800);
    symlink("f", "l");
    show("of a link", utimensat(AT_FDCWD, "l", both, AT_SYMLINK_NOFOLLOW));
    print("l");
    show("missing", utimensat(AT_FDCWD, "gone", both, 0));
    raw("both ways", __wasi_fd_filestat_set_times(fd, 1, 1, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW));
    mkdir("d", 0755);
    show("directory", utimensat(AT_FDCWD, "d", both, 0));
    print("d");
    struct timespec t0[2] = {{1, 0}, {1, 0}};
    utimensat(AT_FDCWD, "d", t0, 0);
    put("d/new", "");
    stat("d", &st);
    printf("a new entry sets the directory's mtime: %d\n", st.st_mtim.tv_sec > 1577836800);
    utimensat(AT_FDCWD, "f", t0, 0);
    show("chmod-like change", rename("f", "g"));
    stat("g", &st);
    printf("rename keeps mtime: %lld\n", (long long)st.st_mtim.tv_sec);
    utimensat(AT_FDCWD, "d", t0, 0);
    unlink("d/new");
    return 0;
}
