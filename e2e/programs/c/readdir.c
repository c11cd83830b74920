// A directory's entries and their kinds.
#include "common.h"

int main(int argc, char **argv) {
    ls(".");
    mkdir("d", 0755);
    put("f", "");
    symlink("f", "l");
    put("d/inner", "");
    ls(".");
    ls("/");
    ls("d");
    ls("f");
    ls("missing");
    DIR *dir = opendir("d");
    struct dirent *entry;
    int all_inodes = 1;
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, "inner") == 0) {
            struct stat st;
            stat("d/inner", &st);
            all_inodes &= st.st_ino == entry->d_ino;
        }
    printf("inode as in stat: %d\n", all_inodes);
    value("no more", readdir(dir) ? 1 : 0);
    rewinddir(dir);
    int count = 0;
    while (readdir(dir))
        count++;
    value("after rewinding", count);
    closedir(dir);
    return 0;
}
