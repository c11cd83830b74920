// O_TRUNC, truncate and ftruncate.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "0123456789");
    int fd = open("f", O_RDWR);
    value("seek", lseek(fd, 8, SEEK_SET));
    show("shrink", ftruncate(fd, 4));
    value("tell", lseek(fd, 0, SEEK_CUR));
    value("write behind the end", write(fd, "X", 1));
    cat("f");
    show("grow", ftruncate(fd, 15));
    cat("f");
    show("negative", ftruncate(fd, -1));
    int ro = open("f", O_RDONLY);
    show("read-only", ftruncate(ro, 0));
    show("by path", truncate("f", 2));
    cat("f");
    show("O_TRUNC", open("f", O_WRONLY | O_TRUNC));
    struct stat st;
    stat("f", &st);
    value("size", st.st_size);
    value("read at a cursor behind the end", read(fd, (char[4]){0}, 4));
    return 0;
}
