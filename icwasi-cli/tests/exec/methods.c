// A canister whose methods exit from deep within.
#include "reactor.h"

__attribute__((export_name("canister_init"))) void init(void) { put("/init", "init"); deep(3, 0); }

UPDATE(leave) { counter++; put("/kept", "x"); answer("replied"); indirect(8, 0); put("/wrong", "on"); }
UPDATE(fail) { counter++; put("/kept", "y"); answer("replied"); indirect(8, 3); }
UPDATE(silent) { put("/kept", "z"); deep(8, 0); }
UPDATE(plain) {
    char text[100] = "";
    FILE *file = fopen("/kept", "r");
    if (file) { fgets(text, sizeof text, file); fclose(file); }
    file = fopen("/wrong", "r");
    sprintf(text + strlen(text), " %d %s", counter, file ? "wrong" : "right");
    answer(text);
}
