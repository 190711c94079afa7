#include "greet.h"

int main(int count, char **words) {
    for (int n = 1; n < count; n++) greet(words[n]);
    return 0;
}
