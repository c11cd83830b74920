// An exit code of more than a byte.
#include "common.h"

int main(int argc, char **argv) {
    exit(125);
}
