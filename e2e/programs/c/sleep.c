// Sleeping moves the monotonic clock by at least what was asked.
#include "common.h"

int main(int argc, char **argv) {
    struct timespec a, b, half = {0, 5000000};
    clock_gettime(CLOCK_MONOTONIC, &a);
    show("nanosleep", nanosleep(&half, NULL));
    show("usleep", usleep(2000));
    clock_gettime(CLOCK_MONOTONIC, &b);
    long long d = (b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec;
    printf("at least 7 ms: %d\n", d >= 7000000);
    struct timespec until = b;
    until.tv_nsec += 3000000;
    if (until.tv_nsec >= 1000000000)
        until.tv_sec++, until.tv_nsec -= 1000000000;
    value("until", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    clock_gettime(CLOCK_MONOTONIC, &a);
    d = (a.tv_sec - until.tv_sec) * 1000000000ll + a.tv_nsec - until.tv_nsec;
    printf("passed: %d\n", d >= 0);
    value("in the past", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &b, NULL));
    value("sleep", sleep(0));
    return 0;
}
