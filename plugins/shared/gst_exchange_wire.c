#include "gst_exchange_wire.h"

#include <string.h>

static const uint8_t MAGIC[4] = {'G', 'S', 'F', 'X'};

static void put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value & 0xffu);
    at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value) {
    put16(at, (uint16_t)(value & 0xffffu));
    put16(at + 2, (uint16_t)(value >> 16));
}

static void put64(uint8_t *at, uint64_t value) {
    put32(at, (uint32_t)(value & 0xffffffffu));
    put32(at + 4, (uint32_t)(value >> 32));
}

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | (unsigned)at[1] << 8); }

static uint32_t get32(const uint8_t *at) { return get16(at) | (uint32_t)get16(at + 2) << 16; }

static uint64_t get64(const uint8_t *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }

static void add_plane(gsx_layout *layout, size_t rows, size_t row) {
    unsigned plane = layout->planes++;
    layout->offset[plane] = layout->bytes;
    layout->rows[plane] = rows;
    layout->row[plane] = row;
    layout->bytes += rows * row; /* at most 8192 x 8192 x 4 = 2^28 */
}

static int layout_of(uint32_t width, uint32_t height, gsx_format format, gsx_layout *layout) {
    size_t w = width, h = height, cw = (w + 1) / 2, ch = (h + 1) / 2;
    memset(layout, 0, sizeof *layout);
    switch (format) {
    case GSX_RGBA:
    case GSX_BGRA:
        add_plane(layout, h, 4 * w);
        return 0;
    case GSX_I420:
        add_plane(layout, h, w);
        add_plane(layout, ch, cw);
        add_plane(layout, ch, cw);
        return 0;
    case GSX_NV12:
        add_plane(layout, h, w);
        add_plane(layout, ch, 2 * cw);
        return 0;
    }
    return -1;
}

static size_t whole_pages(size_t bytes) { return (bytes + GSX_PAGE - 1) / GSX_PAGE * GSX_PAGE; }

int gsx_shape_of(uint32_t width, uint32_t height, gsx_format format, gsx_output output, gsx_shape *shape) {
    if (width < GSX_MIN_SIDE || width > GSX_MAX_SIDE || height < GSX_MIN_SIDE || height > GSX_MAX_SIDE)
        return -1;
    memset(shape, 0, sizeof *shape);
    if (layout_of(width, height, format, &shape->in) != 0)
        return -1;
    if (output == GSX_OUTPUT_MASK)
        add_plane(&shape->out, height, width);
    else if (output == GSX_OUTPUT_FRAME)
        shape->out = shape->in;
    else
        return -1;
    shape->width = width;
    shape->height = height;
    shape->format = format;
    shape->output = output;
    shape->in_slot = whole_pages(shape->in.bytes);
    shape->out_slot = whole_pages(shape->out.bytes);
    if (shape->in_slot > (SIZE_MAX / GSX_SLOTS - shape->out_slot)) /* a 32-bit host */
        return -1;
    shape->total = GSX_SLOTS * (shape->in_slot + shape->out_slot);
    return 0;
}

size_t gsx_input_at(const gsx_shape *shape, unsigned slot) { return slot * shape->in_slot; }

size_t gsx_output_at(const gsx_shape *shape, unsigned slot) {
    return GSX_SLOTS * shape->in_slot + slot * shape->out_slot;
}

void gsx_pack(const gsx_message *message, uint8_t bytes[GSX_MESSAGE_BYTES]) {
    memcpy(bytes, MAGIC, sizeof MAGIC);
    put16(bytes + 4, message->version);
    put16(bytes + 6, message->type);
    put32(bytes + 8, message->slot);
    put32(bytes + 12, message->width);
    put32(bytes + 16, message->height);
    put32(bytes + 20, message->stride);
    put32(bytes + 24, message->format);
    put32(bytes + 28, message->output);
    put64(bytes + 32, message->seq);
    put64(bytes + 40, (uint64_t)message->pts);
    put64(bytes + 48, message->bytes);
    put32(bytes + 56, message->flags);
    put32(bytes + 60, message->took_us);
}

static int no_picture(const gsx_message *m) {
    return m->slot == 0 && m->width == 0 && m->height == 0 && m->stride == 0 && m->format == 0 && m->output == 0 &&
           m->pts == 0 && m->bytes == 0 && m->took_us == 0;
}

static int result_ok(const gsx_message *m) {
    if (m->slot >= GSX_SLOTS || m->seq == 0)
        return 0;
    if (m->flags == 0)
        return m->bytes != 0;
    return (m->flags == GSX_SKIPPED || m->flags == GSX_FAILED) && m->bytes == 0;
}

int gsx_parse(const uint8_t *bytes, size_t length, gsx_message *message) {
    if (length != GSX_MESSAGE_BYTES || memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return -1;
    gsx_message m = {
        .version = get16(bytes + 4),
        .type = get16(bytes + 6),
        .slot = get32(bytes + 8),
        .width = get32(bytes + 12),
        .height = get32(bytes + 16),
        .stride = get32(bytes + 20),
        .format = get32(bytes + 24),
        .output = get32(bytes + 28),
        .seq = get64(bytes + 32),
        .bytes = get64(bytes + 48),
        .flags = get32(bytes + 56),
        .took_us = get32(bytes + 60),
    };
    uint64_t pts = get64(bytes + 40);
    memcpy(&m.pts, &pts, sizeof pts);
    int ok = 0;
    if (m.type == GSX_REFUSE)
        ok = no_picture(&m) && m.flags != 0;
    else if (m.version == GSX_VERSION && m.type == GSX_WELCOME)
        ok = m.slot == GSX_SLOTS && m.seq != 0 && m.pts == 0 && m.flags == 0 && m.took_us == 0;
    else if (m.version == GSX_VERSION && m.type == GSX_RESULT)
        ok = result_ok(&m);
    else if (m.version == GSX_VERSION && m.type == GSX_PONG)
        ok = no_picture(&m) && m.flags == 0;
    if (!ok)
        return -1;
    *message = m;
    return 0;
}

int gsx_fits(const gsx_message *m, const gsx_shape *shape) {
    if (m->width != shape->width || m->height != shape->height || m->format != (uint32_t)shape->format ||
        m->output != (uint32_t)shape->output)
        return 0;
    if (m->type == GSX_WELCOME)
        return m->stride == shape->in.row[0] && m->bytes == shape->total;
    return m->stride == shape->out.row[0] && (m->flags != 0 || m->bytes == shape->out.bytes);
}

int gsx_setting_ok(gsx_setting key, double value) {
    static const struct {
        double low, high;
        int whole;
    } ranges[GSX_SETTINGS] = {
        [GSX_EFFECT] = {0, GSX_EFFECT_ECHO, 1},
        [GSX_HANDS] = {0, GSX_HANDS_RIGHT, 1},
        [GSX_FEATHER_PX] = {0, 64, 0},
        [GSX_SMOOTHING] = {0, 0.95, 0},
        [GSX_MASK_EVERY] = {1, 60, 1},
        [GSX_BLUR_PX] = {0.5, 200, 0},
        [GSX_OPACITY] = {0, 1, 0},
        [GSX_LANDMARKS] = {0, 1, 1},
        [GSX_LABELS] = {0, 1, 1},
        [GSX_MATRIX] = {0, GSX_MATRIX_709, 1},
        [GSX_FULL_RANGE] = {0, 1, 1},
    };
    if ((unsigned)key >= GSX_SETTINGS)
        return 0;
    if (!(value >= ranges[key].low && value <= ranges[key].high)) /* NaN too */
        return 0;
    return !ranges[key].whole || value == (double)(long)value;
}

void gsx_pack_settings(uint32_t given, const float values[GSX_SETTINGS], uint8_t bytes[GSX_MESSAGE_BYTES]) {
    const gsx_message head = {.version = GSX_VERSION, .type = GSX_SETTINGS_TYPE};
    gsx_pack(&head, bytes);
    put32(bytes + 8, given);
    for (unsigned key = 0; key < GSX_SETTINGS; key++) {
        uint32_t bits = 0;
        if (given & (1u << key))
            memcpy(&bits, &values[key], sizeof bits);
        put32(bytes + 12 + 4 * key, bits);
    }
}
