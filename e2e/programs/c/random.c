// Random bytes: all of the buffer, and different each time.
#include "common.h"

int main(int argc, char **argv) {
    unsigned char a[64] = {0}, b[64] = {0};
    show("getentropy", getentropy(a, 64));
    getentropy(b, 64);
    printf("different: %d\n", memcmp(a, b, 64) != 0);
    static unsigned char big[100000];
    raw("many", __wasi_random_get(big, sizeof big));
    int counts[256] = {0}, odd = 0;
    for (size_t i = 0; i < sizeof big; i++)
        counts[big[i]]++;
    for (int i = 0; i < 256; i++)
        odd += counts[i] < 200 || counts[i] > 600;
    printf("uneven: %d\n", odd);
    raw("none", __wasi_random_get(a, 0));
    return 0;
}
