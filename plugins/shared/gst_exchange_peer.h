/* The client's memory and its side of the conversation with a worker. Internal to plugins/shared. */
#ifndef GST_EXCHANGE_PEER_H
#define GST_EXCHANGE_PEER_H

#include "gst_exchange_link.h"

#define GSX_MS 1000000u /* nanoseconds */
#define GSX_FIRST_PAUSE_NS (100u * GSX_MS) /* before connecting again; doubles up to a second */

/* FREE -> AWAITED (FRAME sent) -> READY (RESULT there, not fetched) -> FREE */
typedef enum gsx_place { PLACE_FREE, PLACE_AWAITED, PLACE_READY } gsx_place;

typedef struct gsx_slot {
    gsx_place place;
    uint64_t seq;
    int64_t pts;
} gsx_slot;

struct gsx_client {
    char path[GSX_PATH_BYTES];
    int configured;
    gsx_shape shape;

    uint32_t given;
    float values[GSX_SETTINGS];
    char background[GSX_MAX_PATH + 1];
    int settings_due, background_due;

    int sock; /* -1: not connected */
    uint8_t *memory;
    uint64_t hello;
    int welcomed;
    gsx_slot slots[GSX_SLOTS];
    uint64_t seq; /* of the frame sent last; grows over connections */
    uint64_t retry_at_ns, pause_ns;
    uint32_t refusal;

    unsigned late;      /* frames in a row; at GSX_LATE_LIMIT gsx_process does not wait */
    unsigned timely;    /* answers meanwhile that would have been in time */
    unsigned needed;    /* of them, before waiting is tried again */
    unsigned in_time;   /* frames in a row */
    uint64_t budget_us; /* deadline of the current gsx_process */
};

/* Forget the frames that are on their way, and their memory. */
void gsx_forget_frames(gsx_client *c);

/* End the connection; the next one is tried after this pause. */
void gsx_drop(gsx_client *c, uint64_t pause_ns);

/* The same after the usual pause, which doubles up to a second. */
void gsx_drop_for_a_while(gsx_client *c);

/* Share memory for the client's shape and announce it. */
gsx_sent gsx_send_hello(gsx_client *c);

/* What was set since it was last sent. */
gsx_sent gsx_send_settings(gsx_client *c);

/* Fill in what FRAME and HELLO say of the shape. */
gsx_message gsx_message_of(const gsx_client *c, uint16_t type);

/* Connect where that is due. GSX_DONE: connected, perhaps not yet welcomed; else GSX_ABSENT. */
gsx_status gsx_link_up(gsx_client *c);

/* Take everything that has arrived. GSX_DONE, or GSX_BROKEN: the connection is gone. */
gsx_status gsx_pump(gsx_client *c);

#endif
