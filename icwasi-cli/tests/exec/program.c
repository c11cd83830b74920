// What a command may do, chosen by its first argument.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int initialised = 42;
static char zeros[200000];

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "a");
    if (!file || fputs(text, file) < 0 || fclose(file)) abort();
}

static int deep(int n) {
    if (n == 0) exit(7);
    int below = deep(n - 1);
    put("/wrong.txt", "a frame went on");
    return below + n;
}

// Exits from functions of several types, through a table.
static double leave_double(int n) { if (n) exit(20); return 0.5; }
static long long leave_long(float x) { if (x > 0) exit(21); return 1; }
static struct { double (*d)(int); long long (*l)(float); } volatile table = { leave_double, leave_long };

static int compare(const void *a, const void *b) {
    static int calls;
    if (++calls == 5) exit(9);
    return *(const int *)a - *(const int *)b;
}

static void farewell(void) { put("/farewell.txt", "bye\n"); }
static void leave_early(void) { put("/farewell.txt", "early\n"); _Exit(11); }

static int fresh(void) {
    if (initialised != 42) return printf("data was not restored\n");
    initialised = 1;
    for (size_t i = 0; i < sizeof zeros; i++) if (zeros[i]) return printf("bss was not restored\n");
    memset(zeros, 0xaa, sizeof zeros);
    size_t before = __builtin_wasm_memory_size(0);
    size_t page = __builtin_wasm_memory_grow(0, 33);
    unsigned char *new = (unsigned char *)(page << 16);
    for (size_t i = 0; i < 33 << 16; i++) if (new[i]) return printf("page not zero: %zu\n", page + (i >> 16));
    memset(new, 0xaa, 33 << 16);
    void *block = malloc(5 << 20);
    memset(block, 0x55, 5 << 20);
    return printf("fresh %zu %zu %zu\n", before, page, __builtin_wasm_memory_size(0));
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "deep")) { atexit(farewell); put("/kept.txt", "kept\n"); return deep(50); }
    if (!strcmp(what, "qsort")) {
        int numbers[20];
        for (int i = 0; i < 20; i++) numbers[i] = 20 - i;
        qsort(numbers, 20, sizeof *numbers, compare);
        return 1;
    }
    if (!strcmp(what, "atexit")) { atexit(farewell); atexit(leave_early); return 3; }
    if (!strcmp(what, "double")) return (int)(table.d(argc) * 4);
    if (!strcmp(what, "long")) return (int)table.l(argc);
    if (!strcmp(what, "fresh")) { fresh(); return 0; }
    if (!strcmp(what, "echo")) {
        int c, n = 0;
        while ((c = getchar()) != EOF) { putchar(c); n++; }
        fprintf(stderr, "%d bytes", n);
        return 0;
    }
    if (!strcmp(what, "args")) {
        for (int i = 0; i < argc; i++) printf("[%s]", argv[i]);
        const char *x = getenv("X"), *pwd = getenv("PWD");
        printf(" X=%s PWD=%s\n", x ? x : "none", pwd ? pwd : "none");
        return 0;
    }
    if (!strcmp(what, "write")) { put(argv[2], argv[3]); return 0; }
    if (!strcmp(what, "read")) {
        char line[100];
        FILE *file = fopen(argv[2], "r");
        if (!file) return 2;
        while (fgets(line, sizeof line, file)) fputs(line, stdout);
        return 0; // left open
    }
    if (!strcmp(what, "mkdir")) {
        for (int i = 2; i < argc; i++) {
            char path[100];
            for (char *end = argv[i]; (end = strchr(end + 1, '/'));) {
                snprintf(path, sizeof path, "%.*s", (int)(end - argv[i]), argv[i]);
                mkdir(path, 0777);
            }
            if (mkdir(argv[i], 0777)) return errno;
        }
        return 0;
    }
    if (!strcmp(what, "try")) { return open(argv[2], O_CREAT | O_RDWR, 0600) < 0 ? errno : 0; }
    if (!strcmp(what, "leak")) { printf("%d\n", open("/leak", O_CREAT | O_RDWR, 0600)); unlink("/leak"); return 0; }
    if (!strcmp(what, "list")) {
        DIR *dir = opendir("/");
        for (struct dirent *entry; (entry = readdir(dir));) printf("%s ", entry->d_name);
        return 0;
    }
    if (!strcmp(what, "trap")) { printf("before the trap\n"); fflush(stdout); put("/lost.txt", "x"); __builtin_trap(); }
    if (!strcmp(what, "large")) { for (int i = 0; i < 30000; i++) printf("%0100d\n", i); return 0; }
    return 99;
}
