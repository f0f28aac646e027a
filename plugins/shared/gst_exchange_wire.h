/* The messages and memory layout of the frame exchange (../PROTOCOL.md): bytes to values and back. No I/O. */
#ifndef GST_EXCHANGE_WIRE_H
#define GST_EXCHANGE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "gst_exchange.h"

#define GSX_VERSION 1u
#define GSX_MESSAGE_BYTES 64u
#define GSX_MIN_SIDE 16u
#define GSX_PAGE 4096u
#define GSX_MAX_PATH 4095u

enum gsx_type {
    GSX_HELLO = 1,
    GSX_WELCOME = 2,
    GSX_REFUSE = 3,
    GSX_FRAME = 4,
    GSX_RESULT = 5,
    GSX_SETTINGS_TYPE = 6,
    GSX_BACKGROUND = 7,
    GSX_PING = 8,
    GSX_PONG = 9
};

enum gsx_flag { GSX_SKIPPED = 1, GSX_FAILED = 2 };

/* Any message but SETTINGS; of BACKGROUND the part before the path. */
typedef struct gsx_message {
    uint16_t version;
    uint16_t type;
    uint32_t slot, width, height, stride, format, output;
    uint64_t seq;
    int64_t pts;
    uint64_t bytes;
    uint32_t flags, took_us;
} gsx_message;

/* Where a picture's planes lie in a slot, in bytes. */
typedef struct gsx_layout {
    unsigned planes;
    size_t offset[3], row[3], rows[3];
    size_t bytes; /* of the whole picture */
} gsx_layout;

/* What a HELLO announces, and everything that follows from it. */
typedef struct gsx_shape {
    uint32_t width, height;
    gsx_format format;
    gsx_output output;
    gsx_layout in, out;
    size_t in_slot, out_slot; /* bytes from one slot to the next */
    size_t total;             /* bytes of the memfd */
} gsx_shape;

/* 0, or -1 where width, height, format or output are out of range. */
int gsx_shape_of(uint32_t width, uint32_t height, gsx_format format, gsx_output output, gsx_shape *shape);

size_t gsx_input_at(const gsx_shape *shape, unsigned slot);  /* offset of an input slot; slot < GSX_SLOTS */
size_t gsx_output_at(const gsx_shape *shape, unsigned slot); /* offset of an output slot */

void gsx_pack(const gsx_message *message, uint8_t bytes[GSX_MESSAGE_BYTES]);

/* Read a message that a worker sent and check everything that needs no memory of what was sent before: length, magic,
 * version, type, ranges, and that unused fields are 0. 0, or -1. A REFUSE of another version passes. */
int gsx_parse(const uint8_t *bytes, size_t length, gsx_message *message);

/* Whether a WELCOME or RESULT is about this shape: sizes, format, output, stride and byte count. */
int gsx_fits(const gsx_message *message, const gsx_shape *shape);

/* Whether a setting may have this value. */
int gsx_setting_ok(gsx_setting key, double value);

/* A SETTINGS message of the values whose bit is set in `given`. */
void gsx_pack_settings(uint32_t given, const float values[GSX_SETTINGS], uint8_t bytes[GSX_MESSAGE_BYTES]);

#endif
