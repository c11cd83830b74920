// The clocks of process and thread.
#include "common.h"

int main(int argc, char **argv) {
    __wasi_timestamp_t a, b;
    raw("process", __wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 0, &a));
    raw("thread", __wasi_clock_time_get(__WASI_CLOCKID_THREAD_CPUTIME_ID, 0, &b));
    raw("resolution", __wasi_clock_res_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, &b));
    return 0;
}
