// Holes read as zeros.
#include "common.h"

int main(int argc, char **argv) {
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    write(fd, "start", 5);
    value("seek", lseek(fd, 1000000, SEEK_SET));
    write(fd, "end", 3);
    struct stat st;
    fstat(fd, &st);
    value("size", st.st_size);
    char buf[4096];
    long sum = 0, read_bytes = 0;
    lseek(fd, 5, SEEK_SET);
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        read_bytes += n;
        for (ssize_t i = 0; i < n; i++)
            sum += buf[i];
    }
    printf("%ld bytes, sum %ld\n", read_bytes, sum);
    pwrite(fd, "middle", 6, 500000);
    pread(fd, buf, 8, 499999);
    printf("%d%.6s%d\n", buf[0], buf + 1, buf[7]);
    ftruncate(fd, 600000);
    ftruncate(fd, 1000003);
    pread(fd, buf, 3, 1000000);
    printf("after shrinking and growing: %d%d%d\n", buf[0], buf[1], buf[2]);
    return 0;
}
