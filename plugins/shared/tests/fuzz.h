/* A fuzz target is two functions. libFuzzer calls the first (clang -fsanitize=fuzzer); elsewhere fuzz_main.c does, with
 * mutations of what the second makes. */
#ifndef GSX_FUZZ_H
#define GSX_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The n-th valid input, of at most `room` bytes; its length. */
size_t fuzz_seed(unsigned n, uint8_t *bytes, size_t room);

#endif
