// exit(0) is success.
#include "common.h"

int main(int argc, char **argv) {
    put("kept", "kept");
    puts("leaving");
    exit(0);
}
