// exit far down: files written before it stay, nothing above goes on, atexit handlers run.
#include "common.h"

static void bye(void) {
    put("bye", "from atexit");
    puts("bye");
}

static int compare(const void *a, const void *b) {
    static int calls;
    if (++calls == 3) {
        put("inner", "written before the exit");
        exit(42);
    }
    return *(const int *)a - *(const int *)b;
}

static int down(int depth) {
    int numbers[] = {5, 3, 9, 1, 7};
    if (depth > 0) {
        int result = down(depth - 1);
        put("wrong", "a function went on after exit");
        return result + 1;
    }
    qsort(numbers, 5, sizeof *numbers, compare);
    return numbers[0];
}

int main(int argc, char **argv) {
    atexit(bye);
    put("outer", "first");
    int result = down(20);
    puts("not reached");
    return result;
}
