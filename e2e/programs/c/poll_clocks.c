// poll_oneoff with clocks: the nearest deadline.
#include "common.h"

static void clock_in(__wasi_subscription_t *s, uint64_t data, uint64_t nanos) {
    memset(s, 0, sizeof *s);
    s->userdata = data;
    s->u.tag = __WASI_EVENTTYPE_CLOCK;
    s->u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
    s->u.u.clock.timeout = nanos;
}

int main(int argc, char **argv) {
    __wasi_subscription_t s[3];
    __wasi_event_t e[3];
    __wasi_size_t n = 9;
    raw("none", __wasi_poll_oneoff(s, e, 0, &n));
    clock_in(&s[0], 11, 900000000000);
    clock_in(&s[1], 22, 1000000);
    clock_in(&s[2], 33, 800000000000);
    raw("three", __wasi_poll_oneoff(s, e, 3, &n));
    value("events", n);
    printf("userdata %d, error %d, kind %d\n", (int)e[0].userdata, e[0].error, e[0].type);
    clock_in(&s[0], 44, 0);
    raw("now", __wasi_poll_oneoff(s, e, 1, &n));
    value("events", n);
    clock_in(&s[0], 55, 1);
    s[0].u.u.clock.flags = __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
    raw("absolute, long ago", __wasi_poll_oneoff(s, e, 1, &n));
    printf("userdata %d\n", (int)e[0].userdata);
    return 0;
}
