/* Client of gest_stream's frame exchange, version 1 (../PROTOCOL.md): hands frames to a worker process and takes back
 * processed frames or masks. C11, no dependency beside libc. Linux; elsewhere every call answers GSX_ABSENT.
 *
 *     gsx_client *client = gsx_open(NULL);
 *     gsx_configure(client, 1280, 720, GSX_RGBA, GSX_OUTPUT_FRAME);
 *     gsx_set(client, GSX_EFFECT, GSX_EFFECT_BLUR);
 *     if (gsx_process(client, &in, &out, pts, 20) != GSX_DONE)
 *         copy(in, out);                                     // no worker, or a slow one: the frame stays as it is
 *     gsx_close(client);
 *
 * Nothing here blocks longer than the deadline it is given; calls without one never block. Connecting and
 * re-connecting happen inside the calls below, without waiting. One client is used by one thread at a time; two clients
 * are independent. No call raises a signal, starts a thread or writes to stdout or stderr.
 */
#ifndef GST_EXCHANGE_H
#define GST_EXCHANGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GSX_SLOTS 3u           /* frames that can be on their way at once */
#define GSX_MAX_SIDE 8192u     /* largest width and height, in pixels */
#define GSX_LATE_LIMIT 4u      /* late frames in a row after which gsx_process stops waiting */

typedef struct gsx_client gsx_client;

typedef enum gsx_format {
    GSX_RGBA = 1, /* one plane, 4 bytes a pixel, straight alpha */
    GSX_BGRA = 2, /* one plane, 4 bytes a pixel, straight alpha */
    GSX_I420 = 3, /* three planes: Y, U, V; chroma of (width + 1) / 2 by (height + 1) / 2 */
    GSX_NV12 = 4  /* two planes: Y, interleaved UV */
} gsx_format;

typedef enum gsx_output {
    GSX_OUTPUT_FRAME = 0, /* the processed picture, in the format of the input */
    GSX_OUTPUT_MASK = 1   /* one plane, 1 byte a pixel: 0 background, 255 hand, soft between */
} gsx_output;

typedef enum gsx_status {
    GSX_DONE = 0,    /* `out` was filled */
    GSX_ABSENT = 1,  /* no worker, or it refused this host; `out` is untouched, as with all that follow */
    GSX_LATE = 2,    /* the worker did not answer in time, or the client has stopped waiting for it */
    GSX_BROKEN = 3,  /* the worker went away, or broke the protocol, during this call; it is connected to again */
    GSX_PENDING = 4, /* gsx_poll: nothing new yet */
    GSX_INVALID = 5  /* misuse: not configured, a missing plane, a stride below the row's length */
} gsx_status;

typedef enum gsx_state {
    GSX_STATE_ABSENT = 0,     /* no worker listens; the client tries again by itself */
    GSX_STATE_CONNECTING = 1, /* asked, not yet answered */
    GSX_STATE_READY = 2,
    GSX_STATE_LATE = 3,       /* connected; gsx_process has stopped waiting until the worker keeps up again */
    GSX_STATE_REFUSED = 4     /* the worker refused this host: see gsx_refusal_text; tried again every few seconds */
} gsx_state;

/* Settings. What is not set follows the worker's own command line. */
typedef enum gsx_setting {
    GSX_EFFECT = 0,     /* a gsx_effect; ignored for GSX_OUTPUT_MASK, except GSX_EFFECT_ECHO */
    GSX_HANDS = 1,      /* a gsx_hands */
    GSX_FEATHER_PX = 2, /* 0 to 64, rounded: width of the soft edge to either side of it */
    GSX_SMOOTHING = 3,  /* 0 to 0.95: part of the mask that is carried over from the frame before; 0 is none */
    GSX_MASK_EVERY = 4, /* 1 to 60: hands are looked for on every n-th frame, and kept where they were between */
    GSX_BLUR_PX = 5,    /* 0.5 to 200: of the effect blur, in pixels of a picture of 720 lines */
    GSX_OPACITY = 6,    /* 0 to 1: of the effect overlay */
    GSX_LANDMARKS = 7,  /* 0 or 1: draw the hands' joints */
    GSX_LABELS = 8,     /* 0 or 1: write each hand's number and side (overlay, contour) */
    GSX_MATRIX = 9,     /* a gsx_matrix: of I420 and NV12 */
    GSX_FULL_RANGE = 10 /* 0 or 1: whether Y of I420 and NV12 goes from 0 to 255 instead of 16 to 235 */
} gsx_setting;
#define GSX_SETTINGS 11u

typedef enum gsx_effect {
    GSX_EFFECT_DEFAULT = 0, /* the worker's own */
    GSX_EFFECT_OVERLAY = 1,
    GSX_EFFECT_CONTOUR = 2,
    GSX_EFFECT_GREEN = 3,
    GSX_EFFECT_BLUR = 4,
    GSX_EFFECT_REPLACE = 5,     /* by the picture of gsx_set_background, else the worker's */
    GSX_EFFECT_TRANSPARENT = 6, /* RGBA and BGRA: alpha is the mask; I420 and NV12: black where no hand is */
    GSX_EFFECT_ECHO = 7         /* the frame comes back as it was, without a look at it; a mask is all 0 (measuring) */
} gsx_effect;

typedef enum gsx_hands { GSX_HANDS_BOTH = 0, GSX_HANDS_LEFT = 1, GSX_HANDS_RIGHT = 2 } gsx_hands;

typedef enum gsx_matrix {
    GSX_MATRIX_AUTO = 0, /* BT.601 below 720 lines, BT.709 from 720 lines on */
    GSX_MATRIX_601 = 1,
    GSX_MATRIX_709 = 2
} gsx_matrix;

/* Where a picture lies. Planes beyond the format's are ignored. The pixels of an input are only read. */
typedef struct gsx_image {
    uint8_t *plane[3];
    uint32_t stride[3]; /* bytes from one row to the next, at least the row's length */
} gsx_image;

/* A client for the worker at `socket_path`; NULL is the default address: $XDG_RUNTIME_DIR/gest_stream/worker.sock, or
 * /tmp/gest_stream-UID/worker.sock where XDG_RUNTIME_DIR is not set. Does not connect yet.
 * NULL when memory is out or the path has more than 107 bytes. */
gsx_client *gsx_open(const char *socket_path);

/* Say what the frames are, before the first one and on every change; frames on their way are forgotten.
 * 0, or -1 for a size or format that is out of range. The same values again change nothing. */
int gsx_configure(gsx_client *client, uint32_t width, uint32_t height, gsx_format format, gsx_output output);

/* Change a setting, before or while frames run. 0, or -1 for an unknown key or a value that is out of range. */
int gsx_set(gsx_client *client, gsx_setting key, double value);

/* The picture file (PNG or JPEG; an absolute path of at most 4095 bytes) that GSX_EFFECT_REPLACE shows; NULL or "" for
 * the worker's own. The worker reads it; where it cannot, it shows a green background. 0, or -1 for a path that is too
 * long or relative. */
int gsx_set_background(gsx_client *client, const char *path);

/* One frame to the worker and back, at most `deadline_ms` milliseconds (0: what is there at once; at most 60000).
 * After GSX_LATE_LIMIT late frames in a row it no longer waits: frames still go to the worker where there is room, and
 * waiting starts again once the worker's answers take less than `deadline_ms`. `pts` is any number: it comes back with
 * the result and must not tell frames apart. */
gsx_status gsx_process(gsx_client *client, const gsx_image *in, gsx_image *out, int64_t pts, int deadline_ms);

/* Hand over a frame without waiting for its answer. GSX_DONE: it is on its way and `*seq` names it (from 1 on, growing).
 * GSX_LATE: GSX_SLOTS frames are on their way or not yet fetched, or the worker has not answered yet at all. `seq` may
 * be NULL. Do not mix with gsx_process. */
gsx_status gsx_submit(gsx_client *client, const gsx_image *in, int64_t pts, uint64_t *seq);

/* The newest answer that is there, GSX_DONE; older ones are dropped. Never waits. `seq` and `pts` say which frame it
 * belongs to; both may be NULL. */
gsx_status gsx_poll(gsx_client *client, gsx_image *out, uint64_t *seq, int64_t *pts);

/* The same with the oldest answer, for hosts that show every frame; call until GSX_PENDING. A frame whose seq is passed
 * over was skipped by the worker: a newer one had come. */
gsx_status gsx_poll_next(gsx_client *client, gsx_image *out, uint64_t *seq, int64_t *pts);

/* How things stand, as of the last call. */
gsx_state gsx_state_of(const gsx_client *client);

/* A short English text for a status line, such as "no worker: start one with 'gest-stream worker'". Never NULL. */
const char *gsx_state_text(gsx_state state);

/* Why the worker refused this host, in English; "" where it did not. Never NULL. */
const char *gsx_refusal_text(const gsx_client *client);

/* Let go of everything. NULL is ignored. */
void gsx_close(gsx_client *client);

#ifdef __cplusplus
}
#endif

#endif
