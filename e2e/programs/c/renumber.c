// fd_renumber.
#include "common.h"

int main(int argc, char **argv) {
    put("a", "A");
    put("b", "B");
    int a = open("a", O_RDONLY), b = open("b", O_RDONLY);
    raw("move", __wasi_fd_renumber(a, b));
    char c = '?';
    value("read", read(b, &c, 1));
    printf("%c\n", c);
    value("the old one is closed", read(a, &c, 1));
    raw("itself", __wasi_fd_renumber(b, b));
    raw("closed source", __wasi_fd_renumber(50, b));
    raw("closed target", __wasi_fd_renumber(b, 50));
    value("its number is free", open("b", O_RDONLY) >= 0);
    int out = open("out", O_WRONLY | O_CREAT, 0644);
    fflush(stdout);
    raw("over stdout", __wasi_fd_renumber(out, 1));
    puts("this goes to the file");
    return 0;
}
