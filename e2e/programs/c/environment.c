// Environment variables.
#include "common.h"
extern char **environ;

int main(int argc, char **argv) {
    for (char **e = environ; *e; e++)
        puts(*e);
    printf("%s\n", getenv("EMPTY"));
    printf("%s\n", getenv("MISSING") ? "there" : "missing");
    setenv("NEW", "value", 1);
    printf("%s\n", getenv("NEW"));
    unsetenv("A");
    printf("%s\n", getenv("A") ? "there" : "gone");
    return 0;
}
