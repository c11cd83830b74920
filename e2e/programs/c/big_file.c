// Some megabytes, written and read in odd pieces.
#include "common.h"

int main(int argc, char **argv) {
    static unsigned char buf[65537];
    int fd = open("big", O_RDWR | O_CREAT, 0644);
    uint32_t x = 1;
    for (int i = 0; i < 40; i++) {
        for (size_t j = 0; j < sizeof buf; j++)
            buf[j] = (x = x * 1664525 + 1013904223) >> 24;
        if (write(fd, buf, sizeof buf) != sizeof buf)
            return 1;
    }
    value("size", lseek(fd, 0, SEEK_END));
    lseek(fd, 0, SEEK_SET);
    uint32_t y = 1, bad = 0;
    ssize_t n;
    while ((n = read(fd, buf, 10007)) > 0)
        for (ssize_t j = 0; j < n; j++)
            bad += buf[j] != (unsigned char)((y = y * 1664525 + 1013904223) >> 24);
    value("bad", bad);
    show("cut", ftruncate(fd, 100000));
    return 0;
}
