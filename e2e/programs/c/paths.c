// Dots and slashes in paths.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("d", 0755);
    mkdir("d/e", 0755);
    put("d/f", "found");
    const char *paths[] = {"d/f", "./d/f", "d/./f", "d//f", "d/e/../f", "/d/f", "//d///f", "d/e/../../d/f",
                           "d/../d/f", "d/f/", "d/f/.", "d/f/..", "d/gone/../f", "nope/../d/f", ""};
    for (int i = 0; i < 15; i++) {
        printf("%s -> ", paths[i]);
        cat(paths[i]);
    }
    return 0;
}
