// Directories in directories, walked and removed by the program.
#include "common.h"

static int removed;

static void remove_all(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *child = malloc(strlen(path) + strlen(entry->d_name) + 2);
        sprintf(child, "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            remove_all(child);
        else if (unlink(child) == 0)
            removed++;
        free(child);
    }
    closedir(dir);
    if (rmdir(path) == 0)
        removed++;
}

int main(int argc, char **argv) {
    char path[2048] = "top";
    mkdir(path, 0755);
    for (int i = 0; i < 60; i++) {
        char file[2100];
        snprintf(file, sizeof file, "%s/file", path);
        put(file, path);
        strcat(path, "/deeper");
        mkdir(path, 0755);
    }
    cat("top/deeper/deeper/deeper/file");
    remove_all("top");
    value("removed", removed);
    ls(".");
    return 0;
}
