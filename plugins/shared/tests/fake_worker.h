/* A worker in a child process that behaves as well or as badly as a test wants. It inverts every byte. */
#ifndef GSX_FAKE_WORKER_H
#define GSX_FAKE_WORKER_H

#include <stdint.h>
#include <sys/types.h>

typedef enum trait {
    WELL_BEHAVED,
    REFUSES,            /* every HELLO, reason `number` */
    NEVER_WELCOMES,
    DIES_AT,            /* on frame `number` (from 1), having read it */
    HANGS_AT,           /* from frame `number` on */
    SLOW,               /* `number` milliseconds a frame */
    SLOW_AND_LIES,      /* the same, and says it took no time */
    SLOW_UNTIL,         /* 40 ms a frame up to frame `number`, then at once */
    SKIPS_ODD,          /* answers every odd frame with SKIPPED */
    FAILS,              /* answers every frame with FAILED */
    HOLDS_THREE,        /* answers three frames together, once all are there */
    WRONG_SEQ,          /* results of frames that were never sent */
    WRONG_SLOT,
    WRONG_BYTES,
    LONG_MESSAGE,       /* 65 bytes */
    GARBAGE,            /* 64 bytes of noise */
    SENDS_DESCRIPTORS,  /* one with every message */
    FLOODS,             /* PONGs without end instead of results */
    TELLS_SETTINGS,     /* the last SETTINGS in the first 64 bytes of the output, the last path behind it */
    TELLS_HELLOS        /* how many HELLOs there were in byte 0, how many connections in byte 1 */
} trait;

typedef struct fake_worker {
    pid_t pid;
    char path[100];
} fake_worker;

/* Listen at `path` and serve from a child process. */
fake_worker start_worker(const char *path, trait trait, unsigned number);

/* Kill it (SIGKILL) and remove the socket. It must not have found a fault with the host. */
void kill_worker(fake_worker *worker);

#endif
