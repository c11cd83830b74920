// Writes with O_APPEND go to the end, wherever the cursor is.
#include "common.h"

int main(int argc, char **argv) {
    put("log", "one\n");
    int fd = show("open", open("log", O_RDWR | O_APPEND)) < 0 ? 1 : 3 + 1;
    value("seek", lseek(fd, 0, SEEK_SET));
    value("write", write(fd, "two\n", 4));
    value("tell", lseek(fd, 0, SEEK_CUR));
    value("pwrite", pwrite(fd, "three\n", 6, 0));
    int other = open("log", O_WRONLY | O_APPEND);
    value("write", write(other, "four\n", 5));
    value("write", write(fd, "five\n", 5));
    value("tell", lseek(fd, 0, SEEK_CUR));
    char buf[8] = {0};
    value("pread", pread(fd, buf, 4, 0));
    printf("%s", buf);
    cat("log");
    return 0;
}
