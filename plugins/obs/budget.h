/* How long a filter held the graphics thread for the worker's sake. */
#ifndef GEST_OBS_BUDGET_H
#define GEST_OBS_BUDGET_H

#include <stdint.h>
#include <util/base.h>

struct gest_budget {
    uint64_t frames, total_ns, longest_ns;
};

static inline void gest_budget_spend(struct gest_budget *budget, uint64_t held_ns) {
    budget->frames++;
    budget->total_ns += held_ns;
    budget->longest_ns = held_ns > budget->longest_ns ? held_ns : budget->longest_ns;
}

static inline void gest_budget_log(const struct gest_budget *budget, const char *filter) {
    blog(LOG_INFO, "[gest_stream] %s filter: %llu frames to the worker, %.2f ms each, longest %.2f ms", filter,
         (unsigned long long)budget->frames,
         budget->frames > 0 ? (double)budget->total_ns / (double)budget->frames * 1e-6 : 0.0,
         (double)budget->longest_ns * 1e-6);
}

#endif
