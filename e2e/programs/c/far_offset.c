// Offsets of more than 32 bits.
#include "common.h"

int main(int argc, char **argv) {
    int fd = open("far", O_RDWR | O_CREAT, 0644);
    value("seek", lseek(fd, 5ll << 30, SEEK_SET));
    value("write", write(fd, "there", 5));
    struct stat st;
    fstat(fd, &st);
    value("size", st.st_size);
    char buf[8] = {0};
    value("pread", pread(fd, buf, 8, (5ll << 30) - 1));
    printf("%d %s\n", buf[0], buf + 1);
    show("beyond what can be", ftruncate(fd, INT64_MAX));
    show("cut", ftruncate(fd, 10));
    cat("far");
    return 0;
}
