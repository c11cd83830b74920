// What stdio holds back is written at exit, and not by _Exit.
#include "common.h"

int main(int argc, char **argv) {
    FILE *f = fopen("buffered", "w");
    setvbuf(f, NULL, _IOFBF, 4096);
    fputs("held back", f);
    FILE *g = fopen("lost", "w");
    setvbuf(g, NULL, _IOFBF, 4096);
    fputs("lost", g);
    struct stat st;
    stat("buffered", &st);
    value("before", st.st_size);
    fflush(f);
    stat("buffered", &st);
    value("after", st.st_size);
    fputs(" and lost", f);
    fflush(stdout);
    _Exit(3);
}
