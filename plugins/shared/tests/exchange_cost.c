/* What one exchange costs a host: program SOCKET FRAMES FPS EFFECT WIDTH HEIGHT prints the milliseconds of each call
 * that brought a frame back, one a line, and how many did not on the last line. FPS 0: one frame after the other. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../gst_exchange.h"
#include "../gst_exchange_link.h"
#include "check.h"

static void pause_until(uint64_t when_ns) {
    const uint64_t now = gsx_now_ns();
    if (when_ns <= now)
        return;
    const uint64_t left = when_ns - now;
    const struct timespec t = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    nanosleep(&t, NULL);
}

int main(int count, char **arguments) {
    CHECK_EQUAL(count, 7);
    const long frames = atol(arguments[2]);
    const double fps = atof(arguments[3]);
    const uint32_t width = (uint32_t)atol(arguments[5]), height = (uint32_t)atol(arguments[6]);
    const size_t bytes = 4u * width * height;
    gsx_image in = {{malloc(bytes)}, {4 * width}}, out = {{malloc(bytes)}, {4 * width}};
    gsx_client *c = gsx_open(arguments[1]);
    CHECK(c != NULL && in.plane[0] != NULL && out.plane[0] != NULL);
    CHECK_EQUAL(gsx_configure(c, width, height, GSX_RGBA, GSX_OUTPUT_FRAME), 0);
    CHECK_EQUAL(gsx_set(c, GSX_EFFECT, atof(arguments[4])), 0);
    memset(out.plane[0], 0, bytes);
    long others = 0;
    uint64_t next = gsx_now_ns();
    for (long i = 0; i < frames; i++) {
        memset(in.plane[0], (int)(i & 0xff), bytes);
        const uint64_t start = gsx_now_ns();
        const gsx_status status = gsx_process(c, &in, &out, i, 1000);
        const double ms = (double)(gsx_now_ns() - start) / 1e6;
        if (status == GSX_DONE) {
            printf("%.4f\n", ms);
            if (atof(arguments[4]) == GSX_EFFECT_ECHO) /* it was this frame that came back */
                CHECK(out.plane[0][0] == (uint8_t)i && out.plane[0][bytes - 1] == (uint8_t)i);
        } else {
            others++;
        }
        if (fps > 0)
            pause_until(next += (uint64_t)(1e9 / fps));
    }
    printf("not answered %ld\n", others);
    gsx_close(c);
    free(in.plane[0]);
    free(out.plane[0]);
    return 0;
}
