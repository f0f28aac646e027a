/* Whether the worker keeps up, for filters that never wait for it. */
#ifndef GEST_OBS_PATIENCE_H
#define GEST_OBS_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

/* A worker this long without an answer counts as absent. */
#define GEST_PATIENCE_NS 500000000ull

struct gest_patience {
    uint64_t frame_ns;   /* the last frame */
    uint64_t waiting_ns; /* since when frames are without an answer; 0: they are not */
    bool answered;       /* there was an answer since the worker came */
};

/* A frame came; true after a pause. A source that was paused or hidden asked nothing: the worker is not to blame. */
static inline bool gest_patience_frame(struct gest_patience *patience, uint64_t now_ns) {
    bool paused = now_ns - patience->frame_ns > GEST_PATIENCE_NS;
    if (paused || patience->waiting_ns == 0)
        patience->waiting_ns = now_ns;
    patience->frame_ns = now_ns;
    return paused;
}

static inline void gest_patience_answer(struct gest_patience *patience) {
    patience->answered = true;
    patience->waiting_ns = 0;
}

/* The worker is not there. */
static inline void gest_patience_lost(struct gest_patience *patience) {
    patience->answered = false;
    patience->waiting_ns = 0;
}

static inline bool gest_patience_late(const struct gest_patience *patience) {
    return patience->waiting_ns != 0 && patience->frame_ns - patience->waiting_ns > GEST_PATIENCE_NS;
}

/* What the worker said last may still be shown. */
static inline bool gest_patience_holds(const struct gest_patience *patience) {
    return patience->answered && !gest_patience_late(patience);
}

#endif
