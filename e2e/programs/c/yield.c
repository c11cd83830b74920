// sched_yield succeeds.
#include "common.h"
#include <sched.h>

int main(int argc, char **argv) {
    value("yield", sched_yield());
    return 0;
}
