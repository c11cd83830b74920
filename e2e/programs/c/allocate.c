// posix_fallocate.
#include "common.h"

int main(int argc, char **argv) {
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    write(fd, "abc", 3);
    value("allocate", posix_fallocate(fd, 0, 100));
    struct stat st;
    fstat(fd, &st);
    value("size", st.st_size);
    value("smaller", posix_fallocate(fd, 0, 10));
    fstat(fd, &st);
    value("size", st.st_size);
    return 0;
}
