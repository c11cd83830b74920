/* A guest of the linker's tests: constructors, function pointers, malloc, zeroed data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int constructed;
static char zeros[300000];
static char *blocks[64];

__attribute__((constructor)) static void construct(void) { constructed = 42; }

static int by_size(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

__attribute__((export_name("canister_update sort"))) void sort(void) {
    int list[5] = {5, 1, 4, 2, 3};
    qsort(list, 5, sizeof *list, by_size);
    printf("%d %d%d%d%d%d\n", constructed, list[0], list[1], list[2], list[3], list[4]);
}

__attribute__((export_name("canister_update fill"))) void fill(void) {
    for (int i = 0; i < 64; i++) {
        blocks[i] = malloc(200000);
        if (!blocks[i]) { printf("no memory at %d\n", i); return; }
        memset(blocks[i], i + 1, 200000);
        printf("block %d\n", i);
        fflush(stdout);
    }
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 200000; j++)
            if (blocks[i][j] != i + 1) { printf("overwritten %d %d\n", i, j); return; }
    for (size_t i = 0; i < sizeof zeros; i++)
        if (zeros[i]) { printf("not zero\n"); return; }
    printf("filled\n");
    fflush(stdout);
}
