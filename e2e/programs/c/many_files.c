// A thousand files in one directory.
#include "common.h"

int main(int argc, char **argv) {
    mkdir("d", 0755);
    char name[32];
    for (int i = 0; i < 1000; i++) {
        sprintf(name, "d/%d", i * 7919);
        put(name, name);
    }
    DIR *dir = opendir("d");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    value("entries", count);
    for (int i = 0; i < 1000; i += 2) {
        sprintf(name, "d/%d", i * 7919);
        if (unlink(name) < 0)
            show(name, -1);
    }
    int left = 0;
    for (int i = 0; i < 1000; i++) {
        struct stat st;
        sprintf(name, "d/%d", i * 7919);
        left += stat(name, &st) == 0;
    }
    value("left", left);
    show("rmdir", rmdir("d"));
    return 0;
}
