// Removing what was listed while listing: nothing is missed.
#include "common.h"

int main(int argc, char **argv) {
    for (int i = 0; i < 300; i++) {
        char name[16];
        sprintf(name, "file-%d", i);
        put(name, "");
    }
    DIR *dir = opendir(".");
    struct dirent *entry;
    int removed = 0;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && unlink(entry->d_name) == 0)
            removed++;
    closedir(dir);
    // What a scan misses because of removals, the next one finds, as on any file system.
    for (int again = 0; again < 5; again++) {
        dir = opendir(".");
        while ((entry = readdir(dir)))
            if (entry->d_name[0] != '.' && unlink(entry->d_name) == 0)
                removed++;
        closedir(dir);
    }
    value("removed", removed);
    ls(".");
    return 0;
}
