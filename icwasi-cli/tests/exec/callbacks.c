// A canister that exits in callbacks of its calls.
#include "reactor.h"

IC0(canister_self_size) size_t self_size(void);
IC0(canister_self_copy) void self_copy(void *dst, size_t offset, size_t size);
IC0(call_new) void call_new(const void *callee, size_t callee_size, const void *name, size_t name_size,
                            void (*on_reply)(int), int reply_env, void (*on_reject)(int), int reject_env);
IC0(call_on_cleanup) void call_on_cleanup(void (*on_cleanup)(int), int env);
IC0(call_perform) int call_perform(void);

enum { RETURN = 100 };

static void on_reply(int env) {
    counter++;
    put("/kept", "r");
    if (env == RETURN) { put("/kept", "."); return; }
    answer("by the callback");
    printf("an incomplete line");
    indirect(8, env);
    put("/wrong", "on");
}

static void on_reject(int env) { put("/kept", "j"); answer("rejected"); indirect(8, env); put("/wrong", "on"); }
static void on_cleanup(int env) { put("/kept", "c"); indirect(8, env); put("/wrong", "on"); }

// Calls itself; env is of the callbacks.
static void ask(const char *method, void (*replied)(int), int env) {
    char self[29];
    size_t size = self_size();
    self_copy(self, 0, size);
    call_new(self, size, method, strlen(method), replied, env, on_reject, env);
    call_on_cleanup(on_cleanup, 0);
    if (call_perform()) abort();
}

static void (*volatile itself)(int) = on_reply;

UPDATE(leave) { ask("plain", on_reply, 0); }
UPDATE(fail) { ask("plain", on_reply, 3); }
UPDATE(rejected) { ask("nothing", on_reply, 0); }
// The callback is exit.
UPDATE(direct) { answer("replied"); put("/kept", "d"); ask("plain", exit, 0); }
// The program calls what may be a callback.
UPDATE(within) { itself(RETURN); put("/kept", "w"); itself(0); put("/wrong", "on"); }
UPDATE(plain) {
    char text[100] = "";
    FILE *file = fopen("/kept", "r");
    if (file) { fgets(text, sizeof text, file); fclose(file); }
    file = fopen("/wrong", "r");
    sprintf(text + strlen(text), " %d %s", counter, file ? "wrong" : "right");
    answer(text);
}
