// Saving through a temporary file and a rename, a hundred times.
#include "common.h"

int main(int argc, char **argv) {
    char text[64];
    for (int i = 0; i < 100; i++) {
        sprintf(text, "version %d", i);
        int fd = open("data.tmp", O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0 || write(fd, text, strlen(text)) < 0 || fsync(fd) < 0 || close(fd) < 0 ||
            rename("data.tmp", "data") < 0)
            return show("save", -1);
    }
    cat("data");
    ls(".");
    return 0;
}
