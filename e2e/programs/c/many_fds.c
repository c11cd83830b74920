// Many descriptors at a time.
#include "common.h"

int main(int argc, char **argv) {
    int fds[200];
    char name[16];
    for (int i = 0; i < 200; i++) {
        sprintf(name, "f%d", i % 10);
        fds[i] = open(name, O_RDWR | O_CREAT, 0644);
        if (fds[i] < 0)
            return show(name, -1);
    }
    for (int i = 0; i < 200; i++)
        pwrite(fds[i], "x", 1, i / 10);
    for (int i = 0; i < 200; i += 2)
        close(fds[i]);
    int good = 0;
    for (int i = 0; i < 200; i++) {
        char c = 0;
        good += pread(fds[i], &c, 1, 0) == 1 && c == 'x';
    }
    value("open", good);
    cat("f3");
    return 0;
}
