// stdio, dirent, stat, rename, as a C programmer uses them. Argument: a directory to work in.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) fail(path);
    char *names[100];
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) names[n++] = strdup(entry->d_name);
    closedir(dir);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        char full[300];
        struct stat st;
        snprintf(full, sizeof full, "%s/%s", path, names[i]);
        if (lstat(full, &st)) fail(full);
        const char *kind = S_ISDIR(st.st_mode) ? "dir" : S_ISLNK(st.st_mode) ? "link" : "file";
        printf("%-4s %-10s", kind, names[i]);
        if (S_ISREG(st.st_mode)) printf(" %lld bytes, %d links", (long long)st.st_size, (int)st.st_nlink);
        puts("");
        free(names[i]);
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || chdir(argv[1])) fail("chdir");
    if (mkdir("sub", 0777)) fail("mkdir");
    if (!mkdir("sub", 0777) || errno != EEXIST) fail("mkdir again");
    FILE *f = fopen("sub/lines", "w+");
    if (!f) fail("fopen");
    for (int i = 0; i < 10000; i++) fprintf(f, "line %d of 10000, %08.3f\n", i, i / 7.0);
    if (fseek(f, -40, SEEK_END)) fail("fseek");
    char line[100];
    fgets(line, sizeof line, f);
    fgets(line, sizeof line, f);
    printf("last: %s", line);
    rewind(f);
    int count = 0, sum = 0, number;
    while (fscanf(f, "line %d of 10000, %*f\n", &number) == 1) count++, sum += number;
    printf("%d lines, sum %d, at %ld\n", count, sum, ftell(f));
    fclose(f);

    f = fopen("sub/lines", "a");
    fputs("appended\n", f);
    fclose(f);
    if (rename("sub/lines", "sub/renamed")) fail("rename");
    if (fopen("sub/lines", "r") || errno != ENOENT) fail("the old name");
    f = fopen("victim", "w");
    fputs("to be replaced", f);
    fclose(f);
    if (link("victim", "sub/other")) fail("link");
    if (rename("sub/renamed", "victim")) fail("rename over a file");
    if (symlink("sub/other", "symbolic")) fail("symlink");
    if (rename("victim", "sub") == 0) fail("rename of a file over a directory");
    int fd = open("sparse", O_RDWR | O_CREAT | O_EXCL, 0666);
    if (fd < 0 || pwrite(fd, "end", 3, 1000000) != 3 || ftruncate(fd, 2000000)) fail("sparse");
    if (pread(fd, line, 6, 999998) != 6 || memcmp(line, "\0\0end\0", 6)) fail("pread");
    close(fd);
    list(".");
    list("sub");
    if (rmdir("sub") == 0) fail("rmdir of a directory that is not empty");
    printf("errno %d\n", errno == ENOTEMPTY);
    if (unlink("sub/other") || rmdir("sub") || unlink("sparse")) fail("removing");
    // More memory than the program starts with, all of it written and read.
    size_t size = 24 << 20;
    unsigned char *big = malloc(size);
    for (size_t i = 0; i < size; i++) big[i] = i * 31 >> 3;
    f = fopen("big", "w");
    if (fwrite(big, 1, size, f) != size) fail("fwrite");
    fclose(f);
    f = fopen("big", "r");
    unsigned char *again = malloc(size);
    if (fread(again, 1, size, f) != size || memcmp(big, again, size)) fail("reading back");
    printf("%zu bytes\n", size);
    unlink("big");
    int c = getchar();
    printf("input: %c\n", c);
    return 42;
}
