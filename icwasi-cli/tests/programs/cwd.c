// Writes to one path and prints what is at another.
#include <errno.h>
#include <stdio.h>

int main(int argc, char **argv) {
    FILE *file = fopen(argv[1], "w");
    if (!file || fputs("written", file) < 0 || fclose(file)) return errno;
    file = fopen(argv[2], "r");
    if (!file) return errno;
    for (int c; (c = getc(file)) != EOF;) putchar(c);
    putchar('\n');
    return 8;
}
