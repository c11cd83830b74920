// pread and pwrite leave the cursor alone.
#include "common.h"

int main(int argc, char **argv) {
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    value("write", write(fd, "abcdef", 6));
    char buf[16] = {0};
    value("pread", pread(fd, buf, 3, 1));
    printf("%s\n", buf);
    value("pwrite", pwrite(fd, "XY", 2, 2));
    value("tell", lseek(fd, 0, SEEK_CUR));
    value("pread at the end", pread(fd, buf, 3, 6));
    value("pread over the end", pread(fd, buf, 9, 4));
    value("pread far away", pread(fd, buf, 3, 1 << 20));
    value("pwrite behind the end", pwrite(fd, "!", 1, 9));
    value("pwrite nothing", pwrite(fd, "", 0, 100));
    cat("f");
    int ro = open("f", O_RDONLY), wo = open("f", O_WRONLY);
    value("pwrite read-only", pwrite(ro, "x", 1, 0));
    value("pread write-only", pread(wo, buf, 1, 0));
    value("write read-only", write(ro, "x", 1));
    value("read write-only", read(wo, buf, 1));
    return 0;
}
