// unlink: open files live on, links go themselves.
#include "common.h"

int main(int argc, char **argv) {
    put("f", "still here");
    int fd = open("f", O_RDWR);
    show("unlink", unlink("f"));
    show("again", unlink("f"));
    struct stat st;
    fstat(fd, &st);
    value("links", st.st_nlink);
    char buf[32] = {0};
    value("read", read(fd, buf, 31));
    puts(buf);
    value("write", write(fd, "!", 1));
    fstat(fd, &st);
    value("size", st.st_size);
    put("f", "another");
    cat("f");
    close(fd);
    mkdir("d", 0755);
    show("directory", unlink("d"));
    symlink("f", "link");
    show("link", unlink("link"));
    cat("f");
    show("slash behind a file", unlink("f/"));
    show("empty", unlink(""));
    ls(".");
    return 0;
}
