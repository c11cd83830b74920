// readlink: cut to the buffer, without a NUL.
#include "common.h"

int main(int argc, char **argv) {
    symlink("some/target/of/a/link", "l");
    char buf[64];
    memset(buf, '#', sizeof buf);
    value("whole", readlink("l", buf, sizeof buf));
    printf("%.24s\n", buf);
    memset(buf, '#', sizeof buf);
    value("cut", readlink("l", buf, 4));
    printf("%.6s\n", buf);
    put("f", "");
    value("file", readlink("f", buf, sizeof buf));
    value("directory", readlink(".", buf, sizeof buf));
    value("missing", readlink("m", buf, sizeof buf));
    value("slash", readlink("l/", buf, sizeof buf));
    __wasi_size_t used = 7;
    raw("empty buffer", __wasi_path_readlink(ROOT, "l", (uint8_t *)buf, 0, &used));
    value("used", used);
    return 0;
}
