// Names of 255 bytes, and longer ones.
#include "common.h"

int main(int argc, char **argv) {
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    show("255", open(name, O_WRONLY | O_CREAT, 0644));
    name[255] = 'n', name[256] = 0;
    show("256", open(name, O_WRONLY | O_CREAT, 0644));
    show("mkdir 256", mkdir(name, 0755));
    show("stat 256", open(name, O_RDONLY));
    name[255] = 0;
    show("unlink", unlink(name));
    char path[5000] = "";
    mkdir("d", 0755);
    for (int i = 0; i < 1000; i++)
        strcat(path, "d/..") , strcat(path, "/");
    strcat(path, ".");
    show("a path of 5,000 bytes", open(path, O_RDONLY));
    path[3999] = 0;
    show("a path of 3,999 bytes", open(path, O_RDONLY | O_DIRECTORY));
    return 0;
}
