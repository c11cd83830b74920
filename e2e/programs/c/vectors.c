// readv and writev, which may do less than all: the loop of every program.
#include "common.h"
#include <sys/uio.h>

static long all(int fd, int writing, struct iovec *v, int n) {
    long total = 0;
    while (n > 0) {
        ssize_t done = writing ? writev(fd, v, n) : readv(fd, v, n);
        if (done <= 0)
            return done < 0 ? -1 : total;
        total += done;
        while (n > 0 && (size_t)done >= v->iov_len) {
            done -= v->iov_len;
            v++, n--;
        }
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + done;
            v->iov_len -= done;
        }
    }
    return total;
}

int main(int argc, char **argv) {
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    struct iovec out[] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};
    value("written", all(fd, 1, out, 4));
    cat("f");
    lseek(fd, 0, SEEK_SET);
    char a[3] = {0}, b[5] = {0}, c[20] = {0};
    struct iovec in[] = {{a, 2}, {b, 4}, {c, 19}};
    value("read", all(fd, 0, in, 3));
    printf("[%s] [%s] [%s]\n", a, b, c);
    struct iovec none[] = {{"", 0}, {"", 0}};
    value("nothing", writev(fd, none, 2));
    // The same bytes twice in one call.
    char twice[] = "ab";
    struct iovec overlap[] = {{twice, 2}, {twice, 2}, {twice + 1, 1}};
    value("overlapping", all(fd, 1, overlap, 3));
    cat("f");
    return 0;
}
