/* GUARD("word"): whether a guard stands. In what is installed that is always so, and the compiler drops the question.
 *
 * A build with -DGROUNDRUN_WEAK has a list of words in it instead, empty as built, that attacks/weaken.py fills in a copy of the binary: so
 * that each attack can be shown to win without the guards that stop it. No variable, file or argument is looked at in either. */
#ifndef GROUNDRUN_WEAK_H
#define GROUNDRUN_WEAK_H

#ifdef GROUNDRUN_WEAK
#include <string.h>

static volatile const char left_out[1024] __attribute__((used)) = "groundrun guards left out:";

static inline int guard_stands(const char *word) {
    static char text[sizeof left_out + 1];
    size_t length = strlen(word);
    for (size_t i = 0; i < sizeof left_out; i++) text[i] = left_out[i];
    for (const char *at = text; (at = strchr(at, ' ')); at++)
        if (!strncmp(at + 1, word, length) && (at[1 + length] == ' ' || !at[1 + length])) return 0;
    return 1;
}
#define GUARD(word) guard_stands(word)
#else
#define GUARD(word) 1
#endif

#endif
