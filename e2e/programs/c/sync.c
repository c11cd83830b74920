// fsync and fdatasync.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "x");
    int fd = open("f", O_RDWR);
    show("fsync", fsync(fd));
    show("fdatasync", fdatasync(fd));
    show("read-only", fsync(open("f", O_RDONLY)));
    show("closed", fsync(99));
    return 0;
}
