/* Assertions that say where and what, and end the program. */
#ifndef GSX_CHECK_H
#define GSX_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_EQUAL(got, expected)                                                                                     \
    do {                                                                                                               \
        const long long got_ = (long long)(got), expected_ = (long long)(expected);                                    \
        if (got_ != expected_) {                                                                                       \
            fprintf(stderr, "%s:%d: %s: expected %lld, got %lld\n", __FILE__, __LINE__, #got, expected_, got_);        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        test();                                                                                                        \
        printf("ok %s\n", #test);                                                                                      \
        fflush(stdout);                                                                                                \
    } while (0)

#endif
