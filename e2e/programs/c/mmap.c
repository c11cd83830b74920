// Mapped files, as wasi-libc emulates them.
#include "common.h"
#include <sys/mman.h>

int main(int argc, char **argv) {
    put("f", "mapped content");
    int fd = open("f", O_RDWR);
    char *map = mmap(NULL, 14, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("%d %.14s\n", map != MAP_FAILED, map);
    map[0] = 'M';
    show("munmap", munmap(map, 14));
    cat("f");
    return 0;
}
