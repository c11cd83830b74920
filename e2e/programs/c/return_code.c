// The value that main returns.
#include "common.h"

int main(int argc, char **argv) {
    puts("returning");
    return 7;
}
