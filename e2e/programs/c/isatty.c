// Whether standard streams are terminals.
#include "common.h"

int main(int argc, char **argv) {
    for (int fd = 0; fd < 3; fd++)
        printf("%d: %d\n", fd, isatty(fd));
    put("f", "");
    value("file", isatty(open("f", O_RDONLY)));
    value("closed", isatty(99));
    return 0;
}
