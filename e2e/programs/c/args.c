// Arguments.
#include "common.h"

int main(int argc, char **argv) {
    printf("%d\n", argc);
    for (int i = 0; i < argc; i++)
        printf("[%s]\n", argv[i]);
    printf("%d\n", argv[argc] == NULL);
    return 0;
}
