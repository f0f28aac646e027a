/* The parser of messages: whatever it takes must be within the bounds that the client relies on, and pack to the bytes
 * that it was read from. */
#include <string.h>

#include "../gst_exchange_wire.h"
#include "check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gsx_message m;
    uint8_t again[GSX_MESSAGE_BYTES];
    memset(&m, 0xa5, sizeof m);
    const gsx_message untouched = m;
    if (gsx_parse(data, size, &m) != 0) {
        CHECK(memcmp(&m, &untouched, sizeof m) == 0);
        return 0;
    }
    CHECK_EQUAL(size, GSX_MESSAGE_BYTES);
    gsx_pack(&m, again);
    CHECK(memcmp(again, data, size) == 0);
    CHECK(m.type == GSX_WELCOME || m.type == GSX_REFUSE || m.type == GSX_RESULT || m.type == GSX_PONG);
    CHECK(m.type != GSX_RESULT || m.slot < GSX_SLOTS);
    gsx_shape shape;
    if (gsx_shape_of(m.width, m.height, (gsx_format)m.format, (gsx_output)m.output, &shape) == 0) {
        CHECK(shape.total >= 2 * GSX_SLOTS * GSX_PAGE);
        CHECK(shape.total <= 2ull * GSX_SLOTS * 4 * GSX_MAX_SIDE * GSX_MAX_SIDE);
        CHECK(gsx_output_at(&shape, GSX_SLOTS - 1) + shape.out.bytes <= shape.total);
        if (m.type == GSX_RESULT && m.flags == 0 && gsx_fits(&m, &shape))
            CHECK(gsx_output_at(&shape, m.slot) + m.bytes <= shape.total);
    }
    for (unsigned key = 0; key + 3 < size / 4; key++) { /* any bits as a setting */
        double value;
        memcpy(&value, data + 4 * key, sizeof value);
        if (gsx_setting_ok((gsx_setting)key, value))
            CHECK(value >= 0 && value <= 200);
    }
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *bytes, size_t room) {
    static const uint16_t types[] = {GSX_WELCOME, GSX_REFUSE, GSX_RESULT, GSX_RESULT, GSX_PONG};
    gsx_shape shape;
    gsx_message m = {.version = GSX_VERSION, .type = types[n % 5], .seq = 1 + n / 5};
    (void)room;
    gsx_shape_of(16 + n % 2000, 16 + n / 7 % 2000, (gsx_format)(1 + n % 4), (gsx_output)(n / 4 % 2), &shape);
    if (m.type == GSX_REFUSE)
        m.flags = 1 + n % 10;
    if (m.type == GSX_WELCOME || m.type == GSX_RESULT) {
        m.width = shape.width;
        m.height = shape.height;
        m.format = (uint32_t)shape.format;
        m.output = (uint32_t)shape.output;
        m.slot = m.type == GSX_WELCOME ? GSX_SLOTS : n % GSX_SLOTS;
        m.stride = (uint32_t)(m.type == GSX_WELCOME ? shape.in.row[0] : shape.out.row[0]);
        m.bytes = m.type == GSX_WELCOME ? shape.total : shape.out.bytes;
        m.pts = m.type == GSX_RESULT ? (int64_t)n - 1000 : 0;
    }
    gsx_pack(&m, bytes);
    return GSX_MESSAGE_BYTES;
}
