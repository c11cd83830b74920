// Descriptors are different from each other while they are open.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "");
    int seen[64] = {0}, bad = 0, fds[40];
    for (int round = 0; round < 3; round++) {
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < 40; i++) {
            fds[i] = open("f", O_RDONLY);
            if (fds[i] < 4 || fds[i] >= 64 || seen[fds[i]]++)
                bad++;
        }
        for (int i = 0; i < 40; i += 1)
            close(fds[i]);
    }
    value("bad", bad);
    return 0;
}
