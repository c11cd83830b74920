// fopen in all modes.
#include "common.h"

static void use(const char *mode) {
    put("f", "0123456789");
    FILE *f = fopen("f", mode);
    printf("%s: ", mode);
    if (!f) {
        printf("%s\n", strerror(errno));
        return;
    }
    printf("at %ld, ", ftell(f));
    int c = fgetc(f);
    printf("read %d, ", c);
    clearerr(f);
    fseek(f, 2, SEEK_SET);
    int written = fputs("XY", f) >= 0 && fflush(f) == 0;
    printf("wrote %d, ", written);
    clearerr(f);
    fclose(f);
    cat("f");
}

int main(int argc, char **argv) {
    const char *modes[] = {"r", "r+", "w", "w+", "a", "a+", "wx"};
    for (int i = 0; i < 7; i++)
        use(modes[i]);
    FILE *f = fopen("g", "w+");
    fprintf(f, "%d %s\n%c", 42, "words", 'z');
    rewind(f);
    int n;
    char word[16], c;
    value("scanned", fscanf(f, "%d %15s\n%c", &n, word, &c));
    printf("%d %s %c\n", n, word, c);
    ungetc('u', f);
    printf("%c %d\n", fgetc(f), feof(f));
    fgetc(f);
    printf("%d\n", feof(f) != 0);
    fclose(f);
    printf("%d\n", fopen("no/such", "r") == NULL);
    show("remove", remove("g"));
    return 0;
}
