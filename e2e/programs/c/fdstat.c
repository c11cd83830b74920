// Kind and flags of descriptors.
#include "common.h"

static void print(const char *what, int fd) {
    __wasi_fdstat_t st;
    memset(&st, 0, sizeof st);
    int error = __wasi_fd_fdstat_get(fd, &st);
    printf("%s: errno %d, kind %d, flags %d\n", what, error, st.fs_filetype, st.fs_flags);
}

int main(int argc, char **argv) {
    put("f", "");
    print("root", ROOT);
    print("file", open("f", O_RDONLY));
    print("append", open("f", O_WRONLY | O_APPEND));
    print("nonblocking", open("f", O_RDWR | O_NONBLOCK));
    print("directory", open(".", O_RDONLY | O_DIRECTORY));
    print("closed", 99);
    int fd = open("f", O_RDWR);
    value("F_GETFL", (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    value("read-only", (fcntl(open("f", O_RDONLY), F_GETFL) & O_ACCMODE) == O_RDONLY);
    value("write-only", (fcntl(open("f", O_WRONLY), F_GETFL) & O_ACCMODE) == O_WRONLY);
    show("F_SETFL", fcntl(fd, F_SETFL, O_APPEND | O_RDWR));
    print("file", fd);
    write(fd, "a", 1);
    lseek(fd, 0, SEEK_SET);
    write(fd, "b", 1);
    cat("f");
    show("back", fcntl(fd, F_SETFL, O_RDWR));
    lseek(fd, 0, SEEK_SET);
    write(fd, "c", 1);
    cat("f");
    show("F_GETFD", fcntl(fd, F_GETFD));
    return 0;
}
