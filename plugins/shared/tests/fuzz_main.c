/* Runs a fuzz target without libFuzzer: program ITERATIONS [SEED]. The same seed gives the same inputs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define ROOM 4400u

static uint64_t state;

/* Marsaglia, "Xorshift RNGs" (2003): 13, 7, 17 */
static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t below(size_t limit) { return (size_t)(draw() % limit); }

static const uint32_t EDGES[] = {0, 1, 2, 3, 4, 16, 64, 127, 128, 255, 256, 4095, 4096, 8192, 8193, 65535, 65536,
                                 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu};

static size_t mutate(uint8_t *bytes, size_t size) {
    switch (below(8)) {
    case 0: /* another length */
        return size = below(2) ? below(ROOM) : size + below(3) - (size > 1);
    case 1:
        if (size >= 4) {
            const uint32_t edge = EDGES[below(sizeof EDGES / sizeof EDGES[0])];
            memcpy(bytes + below(size / 4) * 4, &edge, 4);
        }
        return size;
    case 2:
        if (size >= 8)
            memmove(bytes + below(size / 2), bytes + below(size / 2), 4);
        return size;
    case 3:
        for (size_t i = below(16); size > 0 && i > 0; i--)
            bytes[below(size)] = (uint8_t)draw();
        return size;
    case 4:
        if (size > 0)
            bytes[below(size)] = (uint8_t)(bytes[below(size)] + 1);
        return size;
    default:
        if (size > 0)
            bytes[below(size)] ^= (uint8_t)(1u << below(8));
        return size;
    }
}

int main(int count, char **arguments) {
    const uint64_t iterations = count > 1 ? strtoull(arguments[1], NULL, 10) : 100000;
    const uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    state = seed * 0x9e3779b97f4a7c15u + 1;
    uint64_t taken = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        uint8_t bytes[ROOM + 8] = {0};
        size_t size = fuzz_seed((unsigned)draw(), bytes, ROOM);
        for (size_t rounds = below(4); rounds > 0; rounds--)
            size = mutate(bytes, size > ROOM ? ROOM : size);
        if (size > ROOM)
            size = ROOM;
        uint8_t *exact = malloc(size > 0 ? size : 1); /* so that a read past the end is seen */
        if (exact == NULL)
            return 1;
        memcpy(exact, bytes, size);
        taken += LLVMFuzzerTestOneInput(exact, size) == 0;
        free(exact);
    }
    printf("%" PRIu64 " inputs, seed %" PRIu64 "\n", taken, seed);
    return 0;
}
