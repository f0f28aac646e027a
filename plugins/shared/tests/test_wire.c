/* The messages and layouts, byte for byte. */
#include <math.h>
#include <string.h>

#include "../gst_exchange_wire.h"
#include "check.h"

static gsx_message result_of(const gsx_shape *shape) {
    const gsx_message m = {
        .version = GSX_VERSION,
        .type = GSX_RESULT,
        .slot = 2,
        .width = shape->width,
        .height = shape->height,
        .stride = (uint32_t)shape->out.row[0],
        .format = (uint32_t)shape->format,
        .output = (uint32_t)shape->output,
        .seq = 0x1122334455667788u,
        .pts = -2,
        .bytes = shape->out.bytes,
        .took_us = 1500,
    };
    return m;
}

static void layouts_are_those_of_the_protocol(void) {
    gsx_shape s;
    CHECK_EQUAL(gsx_shape_of(1280, 720, GSX_RGBA, GSX_OUTPUT_FRAME, &s), 0);
    CHECK_EQUAL(s.in.bytes, 3686400);
    CHECK_EQUAL(s.in_slot, 3686400);
    CHECK_EQUAL(s.total, 6 * 3686400);
    CHECK_EQUAL(gsx_output_at(&s, 1), 4 * 3686400);
    CHECK_EQUAL(gsx_shape_of(33, 17, GSX_I420, GSX_OUTPUT_MASK, &s), 0);
    CHECK_EQUAL(s.in.planes, 3);
    CHECK_EQUAL(s.in.offset[1], 33 * 17);
    CHECK_EQUAL(s.in.offset[2], 33 * 17 + 17 * 9);
    CHECK_EQUAL(s.in.bytes, 33 * 17 + 2 * 17 * 9);
    CHECK_EQUAL(s.out.bytes, 33 * 17);
    CHECK_EQUAL(s.in_slot, 4096);
    CHECK_EQUAL(gsx_shape_of(33, 17, GSX_NV12, GSX_OUTPUT_FRAME, &s), 0);
    CHECK_EQUAL(s.in.planes, 2);
    CHECK_EQUAL(s.in.row[1], 34);
    CHECK_EQUAL(s.in.rows[1], 9);
}

static void shapes_out_of_range_are_refused(void) {
    gsx_shape s;
    CHECK_EQUAL(gsx_shape_of(15, 720, GSX_RGBA, GSX_OUTPUT_FRAME, &s), -1);
    CHECK_EQUAL(gsx_shape_of(8193, 720, GSX_RGBA, GSX_OUTPUT_FRAME, &s), -1);
    CHECK_EQUAL(gsx_shape_of(1280, 0, GSX_RGBA, GSX_OUTPUT_FRAME, &s), -1);
    CHECK_EQUAL(gsx_shape_of(1280, UINT32_MAX, GSX_RGBA, GSX_OUTPUT_FRAME, &s), -1);
    CHECK_EQUAL(gsx_shape_of(1280, 720, (gsx_format)0, GSX_OUTPUT_FRAME, &s), -1);
    CHECK_EQUAL(gsx_shape_of(1280, 720, (gsx_format)5, GSX_OUTPUT_FRAME, &s), -1);
    CHECK_EQUAL(gsx_shape_of(1280, 720, GSX_RGBA, (gsx_output)2, &s), -1);
    CHECK_EQUAL(gsx_shape_of(8192, 8192, GSX_RGBA, GSX_OUTPUT_FRAME, &s), 0);
}

static void a_message_is_packed_to_the_documented_bytes(void) {
    static const uint8_t expected[GSX_MESSAGE_BYTES] = {
        'G', 'S', 'F', 'X', 1, 0, 5, 0,                         /* magic, version, type */
        2, 0, 0, 0, 0, 5, 0, 0, 0xd0, 2, 0, 0,                  /* slot, 1280, 720 */
        0, 0x14, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,                  /* 5120, RGBA, frame */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,         /* seq */
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,         /* pts -2 */
        0, 0x40, 0x38, 0, 0, 0, 0, 0,                           /* 3686400 */
        0, 0, 0, 0, 0xdc, 5, 0, 0,                              /* flags, took_us 1500 */
    };
    gsx_shape s;
    uint8_t bytes[GSX_MESSAGE_BYTES];
    gsx_message back;
    gsx_shape_of(1280, 720, GSX_RGBA, GSX_OUTPUT_FRAME, &s);
    const gsx_message m = result_of(&s);
    gsx_pack(&m, bytes);
    CHECK(memcmp(bytes, expected, sizeof bytes) == 0);
    CHECK_EQUAL(gsx_parse(bytes, sizeof bytes, &back), 0);
    CHECK_EQUAL(back.pts, -2);
    CHECK(back.seq == m.seq && back.bytes == m.bytes && back.took_us == 1500 && back.slot == 2);
    CHECK(gsx_fits(&back, &s));
}

static int parses(gsx_message m) {
    uint8_t bytes[GSX_MESSAGE_BYTES];
    gsx_message back;
    gsx_pack(&m, bytes);
    return gsx_parse(bytes, sizeof bytes, &back) == 0;
}

static void what_a_worker_must_not_send_is_refused(void) {
    gsx_shape s;
    uint8_t bytes[GSX_MESSAGE_BYTES + 1] = {0};
    gsx_message m, back;
    gsx_shape_of(64, 48, GSX_RGBA, GSX_OUTPUT_FRAME, &s);
    const gsx_message good = result_of(&s);
    CHECK(parses(good));
    gsx_pack(&good, bytes);
    CHECK_EQUAL(gsx_parse(bytes, GSX_MESSAGE_BYTES - 1, &back), -1);
    CHECK_EQUAL(gsx_parse(bytes, GSX_MESSAGE_BYTES + 1, &back), -1);
    bytes[3] ^= 1;
    CHECK_EQUAL(gsx_parse(bytes, GSX_MESSAGE_BYTES, &back), -1);
    m = good, m.version = 2;
    CHECK(!parses(m));
    m = good, m.slot = 3;
    CHECK(!parses(m));
    m = good, m.seq = 0;
    CHECK(!parses(m));
    m = good, m.bytes = 0;
    CHECK(!parses(m));
    m = good, m.flags = GSX_SKIPPED; /* with bytes */
    CHECK(!parses(m));
    m.bytes = 0;
    CHECK(parses(m));
    m.flags = GSX_SKIPPED | GSX_FAILED;
    CHECK(!parses(m));
    for (uint16_t type = 0; type < 64; type++) {
        m = good, m.type = type; /* only a RESULT looks like this */
        CHECK_EQUAL(parses(m), type == GSX_RESULT);
    }
}

static void a_refusal_of_another_version_is_read(void) {
    const gsx_message m = {.version = 7, .type = GSX_REFUSE, .flags = 1};
    gsx_message none = m;
    none.flags = 0;
    CHECK(parses(m));
    CHECK(!parses(none));
}

static void a_result_of_another_shape_does_not_fit(void) {
    gsx_shape s, other;
    gsx_shape_of(64, 48, GSX_I420, GSX_OUTPUT_MASK, &s);
    const gsx_message m = result_of(&s);
    CHECK(gsx_fits(&m, &s));
    gsx_shape_of(64, 50, GSX_I420, GSX_OUTPUT_MASK, &other);
    CHECK(!gsx_fits(&m, &other));
    gsx_shape_of(64, 48, GSX_NV12, GSX_OUTPUT_MASK, &other);
    CHECK(!gsx_fits(&m, &other));
    gsx_shape_of(64, 48, GSX_I420, GSX_OUTPUT_FRAME, &other);
    CHECK(!gsx_fits(&m, &other));
    gsx_message wrong = m;
    wrong.stride++;
    CHECK(!gsx_fits(&wrong, &s));
    wrong = m, wrong.bytes--;
    CHECK(!gsx_fits(&wrong, &s));
}

static void settings_are_checked_and_packed(void) {
    CHECK(gsx_setting_ok(GSX_EFFECT, GSX_EFFECT_ECHO));
    CHECK(!gsx_setting_ok(GSX_EFFECT, 8));
    CHECK(!gsx_setting_ok(GSX_EFFECT, 1.5));
    CHECK(!gsx_setting_ok(GSX_SMOOTHING, 0.96));
    CHECK(!gsx_setting_ok(GSX_SMOOTHING, (double)NAN));
    CHECK(!gsx_setting_ok(GSX_BLUR_PX, (double)INFINITY));
    CHECK(!gsx_setting_ok(GSX_MASK_EVERY, 0));
    CHECK(!gsx_setting_ok((gsx_setting)GSX_SETTINGS, 0));
    CHECK(!gsx_setting_ok((gsx_setting)-1, 0));
    const float values[GSX_SETTINGS] = {[GSX_HANDS] = 2, [GSX_SMOOTHING] = 0.5f, [GSX_OPACITY] = 1};
    uint8_t bytes[GSX_MESSAGE_BYTES], expected[GSX_MESSAGE_BYTES] = {'G', 'S', 'F', 'X', 1, 0, 6, 0, 0x0a};
    expected[12 + 4 * GSX_HANDS + 3] = 0x40;     /* 2.0f = 0x40000000 */
    expected[12 + 4 * GSX_SMOOTHING + 3] = 0x3f; /* 0.5f = 0x3f000000 */
    gsx_pack_settings(1u << GSX_HANDS | 1u << GSX_SMOOTHING, values, bytes);
    CHECK(memcmp(bytes, expected, sizeof bytes) == 0); /* the opacity was not given */
}

int main(void) {
    RUN(layouts_are_those_of_the_protocol);
    RUN(shapes_out_of_range_are_refused);
    RUN(a_message_is_packed_to_the_documented_bytes);
    RUN(what_a_worker_must_not_send_is_refused);
    RUN(a_refusal_of_another_version_is_read);
    RUN(a_result_of_another_shape_does_not_fit);
    RUN(settings_are_checked_and_packed);
    return 0;
}
