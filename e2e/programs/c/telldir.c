// telldir and seekdir.
#include "common.h"

int main(int argc, char **argv) {
    for (char c = 'a'; c < 'k'; c++)
        put((char[]){c, 0}, "");
    DIR *dir = opendir(".");
    char first[12][32];
    long places[12];
    for (int i = 0; i < 12; i++) {
        places[i] = telldir(dir);
        struct dirent *entry = readdir(dir);
        strcpy(first[i], entry ? entry->d_name : "(end)");
    }
    int same = 0;
    for (int i = 11; i >= 0; i--) {
        seekdir(dir, places[i]);
        struct dirent *entry = readdir(dir);
        same += entry && strcmp(entry->d_name, first[i]) == 0;
    }
    value("same", same);
    closedir(dir);
    return 0;
}
