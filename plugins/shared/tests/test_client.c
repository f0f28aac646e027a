/* The client against workers that behave well and badly. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../gst_exchange.h"
#include "../gst_exchange_link.h"
#include "check.h"
#include "fake_worker.h"

#define WIDTH 50u
#define HEIGHT 33u
#define PAD 7u       /* rows of the host's pictures are longer than the picture */
#define PATIENCE 2000 /* ms: long enough for any machine, never reached by a worker that behaves well */

static char socket_path[64];

typedef struct picture {
    gsx_image image;
    size_t bytes[3], row[3];
} picture;

static picture make_picture(gsx_format format, gsx_output output, unsigned seed) {
    gsx_shape shape;
    picture p;
    memset(&p, 0, sizeof p);
    CHECK_EQUAL(gsx_shape_of(WIDTH, HEIGHT, format, output, &shape), 0);
    for (unsigned i = 0; i < shape.out.planes; i++) {
        p.row[i] = shape.out.row[i];
        p.image.stride[i] = (uint32_t)(p.row[i] + PAD);
        p.bytes[i] = shape.out.rows[i] * (p.row[i] + PAD);
        p.image.plane[i] = malloc(p.bytes[i]);
        CHECK(p.image.plane[i] != NULL);
        for (size_t b = 0; b < p.bytes[i]; b++)
            p.image.plane[i][b] = (uint8_t)((b + seed + i) * 2654435761u >> 16);
    }
    return p;
}

static void free_picture(picture *p) {
    for (unsigned i = 0; i < 3; i++)
        free(p->image.plane[i]);
}

/* Whether `out` is `in` inverted; its padding must still be that of `before`. */
static int is_inverted(const picture *in, const picture *out, const picture *before) {
    for (unsigned i = 0; i < 3 && out->image.plane[i] != NULL; i++)
        for (size_t b = 0; b < out->bytes[i]; b++) {
            const int padding = b % (out->row[i] + PAD) >= out->row[i];
            const size_t in_at = b / (out->row[i] + PAD) * in->image.stride[i] + b % (out->row[i] + PAD);
            const uint8_t expected = padding ? before->image.plane[i][b] : (uint8_t)~in->image.plane[i][in_at];
            if (out->image.plane[i][b] != expected)
                return 0;
        }
    return 1;
}

static int same(const picture *a, const picture *b) {
    for (unsigned i = 0; i < 3 && a->image.plane[i] != NULL; i++)
        if (memcmp(a->image.plane[i], b->image.plane[i], a->bytes[i]) != 0)
            return 0;
    return 1;
}

static double ms_since(uint64_t start_ns) { return (double)(gsx_now_ns() - start_ns) / 1e6; }

static void pause_ms(long ms) {
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static gsx_client *rgba_client(void) {
    gsx_client *c = gsx_open(socket_path);
    CHECK(c != NULL);
    CHECK_EQUAL(gsx_configure(c, WIDTH, HEIGHT, GSX_RGBA, GSX_OUTPUT_FRAME), 0);
    return c;
}

static void frames_of_every_format_come_back(void) {
    fake_worker worker = start_worker(socket_path, WELL_BEHAVED, 0);
    gsx_client *c = gsx_open(socket_path);
    for (gsx_format format = GSX_RGBA; format <= GSX_NV12; format++)
        for (gsx_output output = GSX_OUTPUT_FRAME; output <= GSX_OUTPUT_MASK; output++) {
            CHECK_EQUAL(gsx_configure(c, WIDTH, HEIGHT, format, output), 0);
            for (unsigned frame = 0; frame < 5; frame++) {
                picture in = make_picture(format, GSX_OUTPUT_FRAME, frame), out = make_picture(format, output, 99);
                picture before = make_picture(format, output, 99);
                CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 12345, PATIENCE), GSX_DONE);
                if (output == GSX_OUTPUT_FRAME)
                    CHECK(is_inverted(&in, &out, &before));
                else
                    CHECK(!same(&out, &before));
                free_picture(&in), free_picture(&out), free_picture(&before);
            }
        }
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_READY);
    gsx_close(c);
    kill_worker(&worker);
}

static void a_mask_lands_in_the_hosts_rows(void) {
    fake_worker worker = start_worker(socket_path, WELL_BEHAVED, 0);
    gsx_client *c = gsx_open(socket_path);
    picture in = make_picture(GSX_I420, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_I420, GSX_OUTPUT_MASK, 99);
    picture before = make_picture(GSX_I420, GSX_OUTPUT_MASK, 99);
    CHECK_EQUAL(gsx_configure(c, WIDTH, HEIGHT, GSX_I420, GSX_OUTPUT_MASK), 0);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
    CHECK(is_inverted(&in, &out, &before)); /* the fake's mask is the inverted Y */
    free_picture(&in), free_picture(&out), free_picture(&before);
    gsx_close(c);
    kill_worker(&worker);
}

static void without_a_worker_the_frame_is_untouched_and_nobody_waits(void) {
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    picture before = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    const uint64_t start = gsx_now_ns();
    for (unsigned i = 0; i < 1000; i++)
        CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, 1000), GSX_ABSENT);
    CHECK(ms_since(start) < 200); /* a deadline alone is 1000 */
    CHECK(same(&out, &before));
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_ABSENT);
    CHECK_EQUAL(gsx_poll(c, &out.image, NULL, NULL), GSX_ABSENT);
    CHECK_EQUAL(gsx_submit(c, &in.image, 0, NULL), GSX_ABSENT);
    free_picture(&in), free_picture(&out), free_picture(&before);
    gsx_close(c);
}

static void a_death_in_the_middle_of_a_frame_is_seen_at_once(void) {
    fake_worker worker = start_worker(socket_path, DIES_AT, 3);
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
    picture before = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 5);
    memcpy(out.image.plane[0], before.image.plane[0], out.bytes[0]);
    uint64_t start = gsx_now_ns();
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_BROKEN);
    CHECK(ms_since(start) < PATIENCE / 2);
    CHECK(same(&out, &before));
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_ABSENT);
    kill_worker(&worker);
    worker = start_worker(socket_path, WELL_BEHAVED, 0);
    start = gsx_now_ns();
    gsx_status status = GSX_ABSENT;
    while (status != GSX_DONE && ms_since(start) < 10000) {
        status = gsx_process(c, &in.image, &out.image, 0, PATIENCE);
        pause_ms(1);
    }
    CHECK_EQUAL(status, GSX_DONE);
    CHECK(ms_since(start) < 2500); /* pauses of 0.1 to 1 s between attempts */
    free_picture(&in), free_picture(&out), free_picture(&before);
    gsx_close(c);
    kill_worker(&worker);
}

static void a_hung_worker_costs_four_deadlines_in_all(void) {
    enum { DEADLINE = 30, FRAMES = 100 };
    const trait traits[] = {HANGS_AT, NEVER_WELCOMES, FLOODS};
    for (unsigned t = 0; t < sizeof traits / sizeof traits[0]; t++) {
        fake_worker worker = start_worker(socket_path, traits[t], 1);
        gsx_client *c = rgba_client();
        picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
        const uint64_t start = gsx_now_ns();
        for (unsigned i = 0; i < FRAMES; i++)
            CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, DEADLINE), GSX_LATE);
        const double total = ms_since(start);
        CHECK(total > (GSX_LATE_LIMIT - 1) * DEADLINE);
        CHECK(total < FRAMES * DEADLINE / 2); /* 120 on an idle machine, 3000 without a breaker */
        CHECK_EQUAL(gsx_state_of(c), traits[t] == NEVER_WELCOMES ? GSX_STATE_CONNECTING : GSX_STATE_LATE);
        free_picture(&in), free_picture(&out);
        gsx_close(c);
        kill_worker(&worker);
    }
}

static unsigned calls_that_waited(trait trait, unsigned number, unsigned frames) {
    enum { DEADLINE = 20, INTERVAL = 45 };
    fake_worker worker = start_worker(socket_path, trait, number);
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    unsigned waited = 0;
    for (unsigned i = 0; i < frames; i++) {
        const uint64_t start = gsx_now_ns();
        gsx_process(c, &in.image, &out.image, 0, DEADLINE); /* late, unless this process was held up itself */
        waited += ms_since(start) >= DEADLINE;
        pause_ms(INTERVAL);
    }
    free_picture(&in), free_picture(&out);
    gsx_close(c);
    kill_worker(&worker);
    return waited;
}

static void a_slow_worker_is_waited_for_four_times_only(void) {
    const unsigned waited = calls_that_waited(SLOW, 100, 40);
    CHECK(waited >= GSX_LATE_LIMIT);
    CHECK(waited <= GSX_LATE_LIMIT * 3); /* a loaded machine may hold a call up by itself; without a breaker it is 40 */
}

static void a_slow_worker_that_says_it_is_fast_is_tried_ever_more_rarely(void) {
    const unsigned waited = calls_that_waited(SLOW_AND_LIES, 100, 40);
    CHECK(waited > GSX_LATE_LIMIT);      /* it was tried again, after 1, 2, 4, 8 ... answers */
    CHECK(waited <= GSX_LATE_LIMIT + 9); /* of about 26 answers */
}

static void waiting_starts_again_once_answers_are_in_time(void) {
    fake_worker worker = start_worker(socket_path, SLOW_UNTIL, 8);
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    unsigned done = 0, late_state = 0;
    for (unsigned i = 0; i < 60; i++) {
        done += gsx_process(c, &in.image, &out.image, 0, 20) == GSX_DONE;
        late_state += gsx_state_of(c) == GSX_STATE_LATE;
        pause_ms(20);
    }
    CHECK(late_state > 0);
    CHECK(done >= 10);
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_READY);
    free_picture(&in), free_picture(&out);
    gsx_close(c);
    kill_worker(&worker);
}

static void a_refusal_is_told_and_not_repeated_at_once(void) {
    fake_worker worker = start_worker(socket_path, REFUSES, 8);
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_BROKEN);
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_REFUSED);
    CHECK(strstr(gsx_refusal_text(c), "as many plugins") != NULL);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_ABSENT);
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_REFUSED);
    CHECK_EQUAL(gsx_configure(c, WIDTH + 2, HEIGHT, GSX_I420, GSX_OUTPUT_MASK), 0); /* another shape: asked at once */
    picture next = make_picture(GSX_I420, GSX_OUTPUT_FRAME, 1);
    gsx_image wide = next.image; /* its rows are long enough: PAD is larger than 2 */
    CHECK_EQUAL(gsx_process(c, &wide, &wide, 0, PATIENCE), GSX_BROKEN);
    free_picture(&in), free_picture(&out), free_picture(&next);
    gsx_close(c);
    kill_worker(&worker);
}

static void a_change_of_size_is_a_new_hello_on_the_same_connection(void) {
    fake_worker worker = start_worker(socket_path, TELLS_HELLOS, 0);
    gsx_client *c = gsx_open(socket_path);
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    for (unsigned i = 1; i <= 5; i++) {
        CHECK_EQUAL(gsx_configure(c, WIDTH - i, HEIGHT, GSX_RGBA, GSX_OUTPUT_FRAME), 0);
        CHECK_EQUAL(gsx_configure(c, WIDTH - i, HEIGHT, GSX_RGBA, GSX_OUTPUT_FRAME), 0); /* changes nothing */
        CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
        CHECK_EQUAL(out.image.plane[0][0], i);
        CHECK_EQUAL(out.image.plane[0][1], 1);
    }
    free_picture(&in), free_picture(&out);
    gsx_close(c);
    kill_worker(&worker);
}

static void frames_on_their_way_do_not_outlive_a_change_of_size(void) {
    fake_worker worker = start_worker(socket_path, SLOW, 30);
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
    uint64_t first, last, seq;
    CHECK_EQUAL(gsx_submit(c, &in.image, 1, &first), GSX_DONE);
    CHECK_EQUAL(gsx_configure(c, WIDTH - 1, HEIGHT, GSX_RGBA, GSX_OUTPUT_FRAME), 0);
    const uint64_t start = gsx_now_ns();
    gsx_status status;
    while ((status = gsx_submit(c, &in.image, 2, &last)) == GSX_LATE && ms_since(start) < PATIENCE)
        pause_ms(1);
    CHECK_EQUAL(status, GSX_DONE);
    while ((status = gsx_poll(c, &out.image, &seq, NULL)) == GSX_PENDING && ms_since(start) < PATIENCE)
        pause_ms(1);
    CHECK_EQUAL(status, GSX_DONE);
    CHECK(seq == last && last > first);
    free_picture(&in), free_picture(&out);
    gsx_close(c);
    kill_worker(&worker);
}

static void a_skipped_or_failed_frame_is_late_without_waiting(void) {
    const trait traits[] = {SKIPS_ODD, FAILS};
    for (unsigned t = 0; t < 2; t++) {
        fake_worker worker = start_worker(socket_path, traits[t], 0);
        gsx_client *c = rgba_client();
        picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
        const uint64_t start = gsx_now_ns();
        for (unsigned i = 0; i < 12; i++)
            CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE),
                        traits[t] == SKIPS_ODD && i % 2 == 1 ? GSX_DONE : GSX_LATE);
        CHECK(ms_since(start) < PATIENCE);
        CHECK_EQUAL(gsx_state_of(c), GSX_STATE_READY);
        free_picture(&in), free_picture(&out);
        gsx_close(c);
        kill_worker(&worker);
    }
}

/* Three frames on their way, all answered; the seqs of the frames in `seqs`. */
static gsx_client *with_three_answers(picture *in, uint64_t seqs[3]) {
    gsx_client *c = rgba_client();
    const uint64_t start = gsx_now_ns();
    gsx_status status;
    while ((status = gsx_submit(c, &in->image, 100, &seqs[0])) == GSX_LATE && ms_since(start) < PATIENCE)
        pause_ms(1); /* not welcomed yet */
    CHECK_EQUAL(status, GSX_DONE);
    CHECK_EQUAL(gsx_submit(c, &in->image, 200, &seqs[1]), GSX_DONE);
    CHECK_EQUAL(gsx_submit(c, &in->image, 300, &seqs[2]), GSX_DONE);
    CHECK_EQUAL(gsx_submit(c, &in->image, 400, NULL), GSX_LATE); /* every slot is on its way */
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_LATE);
    pause_ms(50);
    CHECK(seqs[0] < seqs[1] && seqs[1] < seqs[2]);
    return c;
}

static gsx_status polled(gsx_client *c, gsx_status (*poll)(gsx_client *, gsx_image *, uint64_t *, int64_t *),
                         picture *out, uint64_t *seq, int64_t *pts) {
    const uint64_t start = gsx_now_ns();
    gsx_status status;
    while ((status = poll(c, &out->image, seq, pts)) == GSX_PENDING && ms_since(start) < PATIENCE)
        pause_ms(1);
    return status;
}

static void the_newest_answer_wins(void) {
    fake_worker worker = start_worker(socket_path, HOLDS_THREE, 0);
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    picture before = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    uint64_t seqs[3], seq;
    int64_t pts;
    gsx_client *c = with_three_answers(&in, seqs);
    CHECK_EQUAL(polled(c, gsx_poll, &out, &seq, &pts), GSX_DONE);
    CHECK(seq == seqs[2]);
    CHECK_EQUAL(pts, 300);
    CHECK(is_inverted(&in, &out, &before));
    CHECK_EQUAL(gsx_poll(c, &out.image, &seq, &pts), GSX_PENDING);
    CHECK_EQUAL(gsx_submit(c, &in.image, 500, NULL), GSX_DONE); /* the slots of the older ones are free */
    CHECK_EQUAL(gsx_submit(c, &in.image, 600, NULL), GSX_DONE);
    CHECK_EQUAL(gsx_state_of(c), GSX_STATE_READY);
    free_picture(&in), free_picture(&out), free_picture(&before);
    gsx_close(c);
    kill_worker(&worker);
}

static void every_answer_can_be_had_in_order(void) {
    fake_worker worker = start_worker(socket_path, HOLDS_THREE, 0);
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    uint64_t seqs[3], seq;
    int64_t pts;
    gsx_client *c = with_three_answers(&in, seqs);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQUAL(polled(c, gsx_poll_next, &out, &seq, &pts), GSX_DONE);
        CHECK(seq == seqs[i]);
        CHECK_EQUAL(pts, 100 * (i + 1));
    }
    CHECK_EQUAL(gsx_poll_next(c, &out.image, &seq, &pts), GSX_PENDING);
    free_picture(&in), free_picture(&out);
    gsx_close(c);
    kill_worker(&worker);
}

static void a_worker_that_breaks_the_rules_is_left(void) {
    const trait traits[] = {WRONG_SEQ, WRONG_SLOT, WRONG_BYTES, LONG_MESSAGE, GARBAGE};
    for (unsigned t = 0; t < sizeof traits / sizeof traits[0]; t++) {
        fake_worker worker = start_worker(socket_path, traits[t], 0);
        gsx_client *c = rgba_client();
        picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
        picture before = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
        CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_BROKEN);
        CHECK(same(&out, &before));
        CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_ABSENT);
        free_picture(&in), free_picture(&out), free_picture(&before);
        gsx_close(c);
        kill_worker(&worker);
    }
}

static void nothing_leaks(void) {
    fake_worker worker = start_worker(socket_path, SENDS_DESCRIPTORS, 0);
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    const unsigned before = open_descriptors();
    for (unsigned i = 0; i < 20; i++) {
        gsx_client *c = rgba_client();
        for (unsigned frame = 0; frame < 3; frame++)
            CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
        CHECK_EQUAL(open_descriptors(), before + 1); /* the socket: the memfd is closed once it is mapped */
        gsx_close(c);
    }
    CHECK_EQUAL(open_descriptors(), before);
    free_picture(&in), free_picture(&out);
    kill_worker(&worker);
}

static void settings_reach_the_worker_before_the_next_frame(void) {
    fake_worker worker = start_worker(socket_path, TELLS_SETTINGS, 0);
    gsx_client *c = rgba_client();
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    float values[GSX_SETTINGS] = {0};
    uint8_t expected[GSX_MESSAGE_BYTES];
    CHECK_EQUAL(gsx_set(c, GSX_EFFECT, GSX_EFFECT_REPLACE), 0); /* before connecting */
    CHECK_EQUAL(gsx_set_background(c, "/tmp/Hände.png"), 0);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQUAL(gsx_set(c, GSX_FEATHER_PX, 3.5 + round), 0);
        CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
        values[GSX_EFFECT] = GSX_EFFECT_REPLACE;
        values[GSX_FEATHER_PX] = 3.5f + (float)round;
        gsx_pack_settings(1u << GSX_EFFECT | 1u << GSX_FEATHER_PX, values, expected);
        CHECK(memcmp(out.image.plane[0], expected, sizeof expected) == 0);
        CHECK(strcmp((const char *)out.image.plane[0] + sizeof expected, "/tmp/Hände.png") == 0);
    }
    CHECK_EQUAL(gsx_set_background(c, NULL), 0);
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, PATIENCE), GSX_DONE);
    CHECK_EQUAL(out.image.plane[0][sizeof expected], 0);
    CHECK_EQUAL(gsx_set(c, GSX_FEATHER_PX, -1), -1);
    CHECK_EQUAL(gsx_set_background(c, "relative.png"), -1);
    free_picture(&in), free_picture(&out);
    gsx_close(c);
    kill_worker(&worker);
}

static void misuse_is_told(void) {
    picture in = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 1), out = make_picture(GSX_RGBA, GSX_OUTPUT_FRAME, 2);
    gsx_client *c = gsx_open(socket_path);
    gsx_image narrow = in.image, hollow = in.image;
    narrow.stride[0] = 4 * WIDTH - 1;
    hollow.plane[0] = NULL;
    CHECK_EQUAL(gsx_process(c, &in.image, &out.image, 0, 1), GSX_INVALID); /* not configured */
    CHECK_EQUAL(gsx_configure(c, WIDTH, HEIGHT, GSX_RGBA, GSX_OUTPUT_FRAME), 0);
    CHECK_EQUAL(gsx_process(c, &narrow, &out.image, 0, 1), GSX_INVALID);
    CHECK_EQUAL(gsx_process(c, &in.image, &narrow, 0, 1), GSX_INVALID);
    CHECK_EQUAL(gsx_submit(c, &hollow, 0, NULL), GSX_INVALID);
    CHECK_EQUAL(gsx_process(c, NULL, &out.image, 0, 1), GSX_INVALID);
    CHECK_EQUAL(gsx_process(NULL, &in.image, &out.image, 0, 1), GSX_INVALID);
    CHECK_EQUAL(gsx_configure(c, 0, HEIGHT, GSX_RGBA, GSX_OUTPUT_FRAME), -1);
    gsx_close(c);
    gsx_close(NULL);
    char long_path[GSX_PATH_BYTES + 1];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    CHECK(gsx_open(long_path) == NULL);
    CHECK(gsx_open("") == NULL);
    for (int state = 0; state <= GSX_STATE_REFUSED; state++)
        CHECK(strlen(gsx_state_text((gsx_state)state)) > 5);
    free_picture(&in), free_picture(&out);
}

static void the_default_address_follows_the_environment(void) {
    char path[GSX_PATH_BYTES], expected[GSX_PATH_BYTES];
    CHECK_EQUAL(setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1), 0);
    CHECK_EQUAL(gsx_default_path(path), 0);
    CHECK(strcmp(path, "/run/user/1000/gest_stream/worker.sock") == 0);
    CHECK_EQUAL(setenv("XDG_RUNTIME_DIR", "", 1), 0);
    snprintf(expected, sizeof expected, "/tmp/gest_stream-%u/worker.sock", (unsigned)geteuid());
    CHECK_EQUAL(gsx_default_path(path), 0);
    CHECK(strcmp(path, expected) == 0);
}

int main(void) {
    char folder[] = "/tmp/gsx-test-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    snprintf(socket_path, sizeof socket_path, "%s/worker.sock", folder);
    RUN(frames_of_every_format_come_back);
    RUN(a_mask_lands_in_the_hosts_rows);
    RUN(without_a_worker_the_frame_is_untouched_and_nobody_waits);
    RUN(a_death_in_the_middle_of_a_frame_is_seen_at_once);
    RUN(a_hung_worker_costs_four_deadlines_in_all);
    RUN(a_slow_worker_is_waited_for_four_times_only);
    RUN(a_slow_worker_that_says_it_is_fast_is_tried_ever_more_rarely);
    RUN(waiting_starts_again_once_answers_are_in_time);
    RUN(a_refusal_is_told_and_not_repeated_at_once);
    RUN(a_change_of_size_is_a_new_hello_on_the_same_connection);
    RUN(frames_on_their_way_do_not_outlive_a_change_of_size);
    RUN(a_skipped_or_failed_frame_is_late_without_waiting);
    RUN(the_newest_answer_wins);
    RUN(every_answer_can_be_had_in_order);
    RUN(a_worker_that_breaks_the_rules_is_left);
    RUN(nothing_leaks);
    RUN(settings_reach_the_worker_before_the_next_frame);
    RUN(misuse_is_told);
    RUN(the_default_address_follows_the_environment);
    rmdir(folder);
    return 0;
}
