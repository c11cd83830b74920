// What the programs share: saying what a call did.
#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

// `what: ok`, or the error.
static int show(const char *what, int result) {
    if (result < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: ok\n", what);
    return result;
}

// `what: value`, or the error.
static long long value(const char *what, long long result) {
    if (result < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: %lld\n", what, result);
    return result;
}

// An errno of a raw WASI call.
static int raw(const char *what, int result) {
    printf("%s: errno %d\n", what, result);
    return result;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) != 0) {
        printf("put %s: %s\n", path, strerror(errno));
        exit(99);
    }
}

// Prints a file's content, a dot for each NUL.
static void cat(const char *path) {
    char buf[512];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    printf("%s: [", path);
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < n; i++)
            putchar(buf[i] ? buf[i] : '.');
    printf("]\n");
    close(fd);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Prints a directory's entries, sorted, with their kinds.
static void ls(const char *path) {
    static char *names[2000];
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir) {
        printf("ls %s: %s\n", path, strerror(errno));
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) && count < 2000) {
        const char *kind = entry->d_type == DT_DIR ? "/" : entry->d_type == DT_LNK ? "@" : "";
        char *name = malloc(strlen(entry->d_name) + 2);
        strcpy(name, entry->d_name);
        strcat(name, kind);
        names[count++] = name;
    }
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    printf("ls %s:", path);
    for (int i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
}

// The preopened directory.
#define ROOT 3
