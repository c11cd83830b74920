// Both output streams, binary bytes too.
#include "common.h"

int main(int argc, char **argv) {
    printf("out 1\n");
    fprintf(stderr, "err 1\n");
    write(1, "raw\0\xff\xfe out\n", 11);
    write(2, "\xe2\x82 broken\n", 10);
    printf("no newline at the end");
    fprintf(stderr, "nor here");
    return 0;
}
