// abort traps.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "written before the trap");
    printf("before\n");
    fflush(stdout);
    abort();
}
