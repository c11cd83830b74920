// posix_fadvise.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "x");
    int fd = open("f", O_RDONLY);
    for (int advice = 0; advice < 6; advice++)
        value("advise", posix_fadvise(fd, 0, 10, advice));
    raw("closed", __wasi_fd_advise(99, 0, 0, 0));
    return 0;
}
