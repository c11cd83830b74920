// Lines from standard input, to its end.
#include "common.h"

int main(int argc, char **argv) {
    char line[64];
    int count = 0;
    while (fgets(line, sizeof line, stdin))
        printf("%d: %s", ++count, line);
    printf("\nend: %d\n", feof(stdin) != 0);
    value("read again", read(0, line, 1));
    return 0;
}
