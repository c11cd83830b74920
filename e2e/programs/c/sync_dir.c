// fsync of a directory, which databases do after a rename.
#include "common.h"

int main(int argc, char **argv) {
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    show("fsync", fsync(dir));
    return 0;
}
