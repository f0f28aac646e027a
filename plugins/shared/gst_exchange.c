#include "gst_exchange.h"

#include <stdlib.h>
#include <string.h>

#include "gst_exchange_peer.h"

#define MAX_DEADLINE_MS 60000
#define MAX_TIMELY_NEEDED 64u /* answers in time, before waiting is tried again */
#define TRUST_AFTER 8u        /* frames in time, after which one late answer is an exception again */

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static int usable(const gsx_image *image, const gsx_layout *layout) {
    if (image == NULL)
        return 0;
    for (unsigned p = 0; p < layout->planes; p++)
        if (image->plane[p] == NULL || image->stride[p] < layout->row[p])
            return 0;
    return 1;
}

static void copy_rows(uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride, size_t row, size_t rows) {
    if (to_stride == row && from_stride == row) {
        memcpy(to, from, row * rows);
        return;
    }
    for (size_t y = 0; y < rows; y++)
        memcpy(to + y * to_stride, from + y * from_stride, row);
}

static void copy_in(uint8_t *slot, const gsx_image *image, const gsx_layout *l) {
    for (unsigned p = 0; p < l->planes; p++)
        copy_rows(slot + l->offset[p], l->row[p], image->plane[p], image->stride[p], l->row[p], l->rows[p]);
}

static void copy_out(const uint8_t *slot, gsx_image *image, const gsx_layout *l) {
    for (unsigned p = 0; p < l->planes; p++)
        copy_rows(image->plane[p], image->stride[p], slot + l->offset[p], l->row[p], l->row[p], l->rows[p]);
}

static void fetch(gsx_client *c, unsigned k, gsx_image *out) {
    copy_out(c->memory + gsx_output_at(&c->shape, k), out, &c->shape.out);
    c->slots[k].place = PLACE_FREE;
}

static unsigned free_slot(const gsx_client *c) {
    unsigned k = 0;
    while (k < GSX_SLOTS && c->slots[k].place != PLACE_FREE)
        k++;
    return k;
}

/* GSX_DONE, GSX_LATE (the socket is full) or GSX_BROKEN. */
static gsx_status send_frame(gsx_client *c, unsigned k, const gsx_image *in, int64_t pts) {
    uint8_t bytes[GSX_MESSAGE_BYTES];
    gsx_message frame = gsx_message_of(c, GSX_FRAME);
    copy_in(c->memory + gsx_input_at(&c->shape, k), in, &c->shape.in);
    frame.slot = k;
    frame.seq = c->seq + 1;
    frame.pts = pts;
    frame.bytes = c->shape.in.bytes;
    gsx_pack(&frame, bytes);
    gsx_sent sent = gsx_send_settings(c);
    if (sent == GSX_SENT)
        sent = gsx_send(c->sock, bytes, sizeof bytes, -1);
    if (sent == GSX_FULL)
        return GSX_LATE;
    if (sent == GSX_UNSENT) { /* if the worker said why, that is still to be read */
        if (gsx_pump(c) == GSX_DONE)
            gsx_drop_for_a_while(c);
        return GSX_BROKEN;
    }
    c->seq++;
    c->slots[k] = (gsx_slot){PLACE_AWAITED, c->seq, pts};
    return GSX_DONE;
}

typedef int (*gsx_condition)(const gsx_client *c, unsigned k);

static int is_welcomed(const gsx_client *c, unsigned k) {
    (void)k;
    return c->welcomed;
}

static int has_room(const gsx_client *c, unsigned k) {
    (void)k;
    return free_slot(c) < GSX_SLOTS;
}

static int is_answered(const gsx_client *c, unsigned k) { return c->slots[k].place != PLACE_AWAITED; }

/* GSX_DONE once `there` holds, GSX_LATE when time is up, GSX_BROKEN. Looks once even when time is up already. */
static gsx_status await(gsx_client *c, gsx_condition there, unsigned k, uint64_t until_ns) {
    for (;;) {
        if (gsx_pump(c) != GSX_DONE)
            return GSX_BROKEN;
        if (there(c, k))
            return GSX_DONE;
        if (gsx_now_ns() >= until_ns || !gsx_wait(c->sock, until_ns))
            return GSX_LATE;
    }
}

static void drop_ready(gsx_client *c) {
    for (unsigned k = 0; k < GSX_SLOTS; k++)
        if (c->slots[k].place == PLACE_READY)
            c->slots[k].place = PLACE_FREE;
}

/* ---- the breaker ------------------------------------------------------------------------------------------------- */

static void was_late(gsx_client *c) {
    int trial = c->late == GSX_LATE_LIMIT - 1 && c->timely >= c->needed;
    c->in_time = 0;
    if (c->late >= GSX_LATE_LIMIT || ++c->late < GSX_LATE_LIMIT)
        return;
    if (trial)
        c->needed = c->needed * 2 > MAX_TIMELY_NEEDED ? MAX_TIMELY_NEEDED : c->needed * 2;
    c->timely = 0;
}

static void was_in_time(gsx_client *c) {
    c->late = c->timely = 0;
    if (++c->in_time >= TRUST_AFTER)
        c->needed = 1;
}

static gsx_status exchange(gsx_client *c, const gsx_image *in, gsx_image *out, int64_t pts, uint64_t until_ns) {
    gsx_status status = await(c, is_welcomed, 0, until_ns);
    drop_ready(c);
    if (status == GSX_DONE)
        status = await(c, has_room, 0, until_ns);
    unsigned k = free_slot(c);
    if (status == GSX_DONE)
        status = send_frame(c, k, in, pts);
    if (status == GSX_DONE)
        status = await(c, is_answered, k, until_ns);
    if (status != GSX_DONE)
        return status;
    if (c->slots[k].place != PLACE_READY) /* skipped, or the worker failed on it: nobody waited */
        return GSX_PENDING;
    fetch(c, k, out);
    return GSX_DONE;
}

/* ---- the API ----------------------------------------------------------------------------------------------------- */

gsx_client *gsx_open(const char *socket_path) {
    gsx_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    int ok;
    if (socket_path == NULL) {
        ok = gsx_default_path(c->path) == 0;
    } else {
        const size_t length = strlen(socket_path);
        ok = length > 0 && length < sizeof c->path;
        if (ok)
            memcpy(c->path, socket_path, length + 1);
    }
    if (!ok) {
        free(c);
        return NULL;
    }
    c->sock = -1;
    c->pause_ns = GSX_FIRST_PAUSE_NS;
    c->needed = 1;
    return c;
}

int gsx_configure(gsx_client *c, uint32_t width, uint32_t height, gsx_format format, gsx_output output) {
    gsx_shape shape;
    if (c == NULL || gsx_shape_of(width, height, format, output, &shape) != 0)
        return -1;
    if (c->configured && c->shape.width == width && c->shape.height == height && c->shape.format == format &&
        c->shape.output == output)
        return 0;
    gsx_forget_frames(c);
    c->shape = shape;
    c->configured = 1;
    if (c->refusal != 0) /* perhaps because of the shape */
        c->retry_at_ns = 0;
    if (c->sock >= 0 && gsx_send_hello(c) != GSX_SENT)
        gsx_drop_for_a_while(c);
    return 0;
}

int gsx_set(gsx_client *c, gsx_setting key, double value) {
    if (c == NULL || !gsx_setting_ok(key, value))
        return -1;
    const uint32_t bit = 1u << (unsigned)key;
    const float as_sent = (float)value;
    if ((c->given & bit) && c->values[key] == as_sent)
        return 0;
    c->given |= bit;
    c->values[key] = as_sent;
    c->settings_due = 1;
    return 0;
}

int gsx_set_background(gsx_client *c, const char *path) {
    const char *wanted = path != NULL ? path : "";
    const size_t length = strlen(wanted);
    if (c == NULL || length > GSX_MAX_PATH || (length > 0 && wanted[0] != '/'))
        return -1;
    if (strcmp(c->background, wanted) == 0)
        return 0;
    memcpy(c->background, wanted, length + 1);
    c->background_due = 1;
    return 0;
}

gsx_status gsx_process(gsx_client *c, const gsx_image *in, gsx_image *out, int64_t pts, int deadline_ms) {
    if (c == NULL || !c->configured || !usable(in, &c->shape.in) || !usable(out, &c->shape.out))
        return GSX_INVALID;
    const int ms = deadline_ms < 0 ? 0 : deadline_ms > MAX_DEADLINE_MS ? MAX_DEADLINE_MS : deadline_ms;
    gsx_status status = gsx_link_up(c);
    if (status != GSX_DONE)
        return status;
    c->budget_us = (uint64_t)ms * 1000u;
    if (gsx_pump(c) != GSX_DONE)
        return GSX_BROKEN;
    const int patient = c->late < GSX_LATE_LIMIT;
    status = exchange(c, in, out, pts, patient ? gsx_now_ns() + (uint64_t)ms * GSX_MS : 0);
    if (status == GSX_DONE)
        was_in_time(c);
    else if (status == GSX_LATE && patient)
        was_late(c);
    return status == GSX_PENDING ? GSX_LATE : status;
}

gsx_status gsx_submit(gsx_client *c, const gsx_image *in, int64_t pts, uint64_t *seq) {
    if (c == NULL || !c->configured || !usable(in, &c->shape.in))
        return GSX_INVALID;
    gsx_status status = gsx_link_up(c);
    if (status == GSX_DONE)
        status = gsx_pump(c);
    if (status != GSX_DONE)
        return status;
    const unsigned k = free_slot(c);
    if (!c->welcomed || k == GSX_SLOTS)
        status = GSX_LATE;
    else
        status = send_frame(c, k, in, pts);
    if (status != GSX_BROKEN)
        c->late = status == GSX_DONE ? 0 : GSX_LATE_LIMIT; /* for gsx_state_of alone: nobody waits here */
    if (status == GSX_DONE && seq != NULL)
        *seq = c->seq;
    return status;
}

static gsx_status poll_one(gsx_client *c, gsx_image *out, uint64_t *seq, int64_t *pts, int newest) {
    if (c == NULL || !c->configured || !usable(out, &c->shape.out))
        return GSX_INVALID;
    gsx_status status = gsx_link_up(c);
    if (status == GSX_DONE)
        status = gsx_pump(c);
    if (status != GSX_DONE)
        return status;
    unsigned best = GSX_SLOTS;
    for (unsigned k = 0; k < GSX_SLOTS; k++)
        if (c->slots[k].place == PLACE_READY &&
            (best == GSX_SLOTS || (c->slots[k].seq > c->slots[best].seq) == (newest != 0)))
            best = k;
    if (best == GSX_SLOTS)
        return GSX_PENDING;
    if (seq != NULL)
        *seq = c->slots[best].seq;
    if (pts != NULL)
        *pts = c->slots[best].pts;
    fetch(c, best, out);
    if (newest)
        drop_ready(c);
    return GSX_DONE;
}

gsx_status gsx_poll(gsx_client *c, gsx_image *out, uint64_t *seq, int64_t *pts) {
    return poll_one(c, out, seq, pts, 1);
}

gsx_status gsx_poll_next(gsx_client *c, gsx_image *out, uint64_t *seq, int64_t *pts) {
    return poll_one(c, out, seq, pts, 0);
}

gsx_state gsx_state_of(const gsx_client *c) {
    if (c == NULL)
        return GSX_STATE_ABSENT;
    if (c->sock < 0)
        return c->refusal != 0 ? GSX_STATE_REFUSED : GSX_STATE_ABSENT;
    if (!c->welcomed)
        return GSX_STATE_CONNECTING;
    return c->late >= GSX_LATE_LIMIT ? GSX_STATE_LATE : GSX_STATE_READY;
}

const char *gsx_state_text(gsx_state state) {
    switch (state) {
    case GSX_STATE_ABSENT:
        return "no worker: start one with 'gest-stream worker'";
    case GSX_STATE_CONNECTING:
        return "connecting to the worker";
    case GSX_STATE_READY:
        return "connected";
    case GSX_STATE_LATE:
        return "connected, but the worker is too slow: frames pass unchanged";
    case GSX_STATE_REFUSED:
        return "the worker refused this plugin";
    }
    return "";
}

const char *gsx_refusal_text(const gsx_client *c) {
    static const char *const texts[] = {
        "",
        "the worker speaks another version of the frame exchange: update it or this plugin",
        "the worker did not understand a message",
        "the worker does not take pictures of this size",
        "the worker does not take pictures of this format",
        "the worker could not use the shared memory",
        "the worker found a slot in use",
        "the worker does not take a setting's value",
        "the worker serves as many plugins as it can already",
        "the worker fails on every picture: see its log",
        "the worker belongs to another user",
    };
    if (c == NULL || c->sock >= 0)
        return "";
    return c->refusal < sizeof texts / sizeof texts[0] ? texts[c->refusal] : "the worker gave a reason unknown here";
}

void gsx_close(gsx_client *c) {
    if (c == NULL)
        return;
    gsx_drop(c, 0);
    free(c);
}
