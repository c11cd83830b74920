// Clocks: plausible, monotonic, with a resolution.
#include "common.h"

int main(int argc, char **argv) {
    struct timespec a, b, res;
    show("realtime", clock_gettime(CLOCK_REALTIME, &a));
    printf("after 2020: %d\n", a.tv_sec > 1577836800);
    clock_gettime(CLOCK_MONOTONIC, &a);
    int back = 0, moved = 0;
    for (int i = 0; i < 1000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &b);
        long long d = (b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec;
        back += d < 0;
        moved += d > 0;
        a = b;
    }
    printf("back %d, moved %d\n", back, moved > 0);
    show("resolution", clock_getres(CLOCK_MONOTONIC, &res));
    printf("positive: %d\n", res.tv_sec > 0 || res.tv_nsec > 0);
    printf("time(): %d\n", time(NULL) > 1577836800);
    return 0;
}
