#include "gst_exchange_peer.h"

#include <string.h>

#define LAST_PAUSE_NS (1000ull * GSX_MS)
#define REFUSED_PAUSE_NS (5000ull * GSX_MS)
#define MESSAGES_A_CALL 32u /* a worker that floods us does not hold the host */

void gsx_forget_frames(gsx_client *c) {
    if (c->memory != NULL)
        gsx_unshare(c->memory, c->shape.total);
    c->memory = NULL;
    c->welcomed = 0;
    memset(c->slots, 0, sizeof c->slots);
}

void gsx_drop(gsx_client *c, uint64_t pause_ns) {
    gsx_forget_frames(c);
    if (c->sock >= 0)
        gsx_close_fd(c->sock);
    c->sock = -1;
    c->retry_at_ns = gsx_now_ns() + pause_ns;
}

void gsx_drop_for_a_while(gsx_client *c) {
    gsx_drop(c, c->pause_ns);
    c->pause_ns = c->pause_ns * 2 > LAST_PAUSE_NS ? LAST_PAUSE_NS : c->pause_ns * 2;
}

gsx_message gsx_message_of(const gsx_client *c, uint16_t type) {
    const gsx_message m = {
        .version = GSX_VERSION,
        .type = type,
        .width = c->shape.width,
        .height = c->shape.height,
        .stride = (uint32_t)c->shape.in.row[0],
        .format = (uint32_t)c->shape.format,
        .output = (uint32_t)c->shape.output,
    };
    return m;
}

gsx_sent gsx_send_hello(gsx_client *c) {
    int fd;
    c->memory = gsx_share(c->shape.total, &fd);
    if (c->memory == NULL)
        return GSX_UNSENT;
    gsx_message hello = gsx_message_of(c, GSX_HELLO);
    uint8_t bytes[GSX_MESSAGE_BYTES];
    hello.slot = GSX_SLOTS;
    hello.seq = ++c->hello;
    hello.bytes = c->shape.total;
    gsx_pack(&hello, bytes);
    gsx_sent sent = gsx_send(c->sock, bytes, sizeof bytes, fd);
    gsx_close_fd(fd);
    return sent;
}

static gsx_sent send_background(const gsx_client *c) {
    uint8_t bytes[GSX_MESSAGE_BYTES + GSX_MAX_PATH];
    const size_t length = strlen(c->background);
    const gsx_message head = {.version = GSX_VERSION, .type = GSX_BACKGROUND, .bytes = length};
    gsx_pack(&head, bytes);
    memcpy(bytes + GSX_MESSAGE_BYTES, c->background, length);
    return gsx_send(c->sock, bytes, GSX_MESSAGE_BYTES + length, -1);
}

gsx_sent gsx_send_settings(gsx_client *c) {
    gsx_sent sent = GSX_SENT;
    if (c->settings_due) {
        uint8_t bytes[GSX_MESSAGE_BYTES];
        gsx_pack_settings(c->given, c->values, bytes);
        sent = gsx_send(c->sock, bytes, sizeof bytes, -1);
        c->settings_due = sent != GSX_SENT;
    }
    if (sent == GSX_SENT && c->background_due) {
        sent = send_background(c);
        c->background_due = sent != GSX_SENT;
    }
    return sent;
}

gsx_status gsx_link_up(gsx_client *c) {
    if (c->sock >= 0)
        return GSX_DONE;
    if (gsx_now_ns() < c->retry_at_ns)
        return GSX_ABSENT;
    c->sock = gsx_connect(c->path);
    if (c->sock < 0) {
        c->refusal = 0;
        gsx_drop_for_a_while(c);
        return GSX_ABSENT;
    }
    c->settings_due = c->given != 0;
    c->background_due = c->background[0] != '\0';
    c->hello = 0;
    if (gsx_send_hello(c) != GSX_SENT || gsx_send_settings(c) == GSX_UNSENT) {
        gsx_drop_for_a_while(c);
        return GSX_ABSENT;
    }
    return GSX_DONE;
}

static int take_result(gsx_client *c, const gsx_message *m) {
    gsx_slot *slot = &c->slots[m->slot];
    if (slot->place != PLACE_AWAITED || m->seq != slot->seq || m->pts != slot->pts || !gsx_fits(m, &c->shape))
        return -1;
    slot->place = m->flags == 0 ? PLACE_READY : PLACE_FREE;
    if (c->late >= GSX_LATE_LIMIT && m->flags == 0 && m->took_us < c->budget_us && ++c->timely >= c->needed)
        c->late = GSX_LATE_LIMIT - 1; /* wait once more; if that is late too, not again for twice as many answers */
    return 0;
}

static int take(gsx_client *c, const gsx_message *m) {
    switch (m->type) {
    case GSX_WELCOME:
        if (m->seq != c->hello)
            return m->seq < c->hello ? 0 : -1; /* of a shape that was changed since */
        if (c->welcomed || !gsx_fits(m, &c->shape))
            return -1;
        c->welcomed = 1;
        c->pause_ns = GSX_FIRST_PAUSE_NS;
        c->refusal = 0;
        if (c->late >= GSX_LATE_LIMIT)
            c->late = GSX_LATE_LIMIT - 1;
        return 0;
    case GSX_RESULT:
        return c->welcomed ? take_result(c, m) : 0;
    case GSX_PONG:
        return 0;
    default:
        return -1;
    }
}

gsx_status gsx_pump(gsx_client *c) {
    for (unsigned count = 0; count < MESSAGES_A_CALL; count++) {
        gsx_message m;
        switch (gsx_receive(c->sock, &m)) {
        case GSX_NOTHING:
            return GSX_DONE;
        case GSX_ENDED:
            gsx_drop_for_a_while(c);
            return GSX_BROKEN;
        case GSX_VIOLATION:
            gsx_drop(c, REFUSED_PAUSE_NS);
            return GSX_BROKEN;
        case GSX_GOT:
            if (m.type == GSX_REFUSE)
                c->refusal = m.flags;
            if (m.type == GSX_REFUSE || take(c, &m) != 0) {
                gsx_drop(c, REFUSED_PAUSE_NS);
                return GSX_BROKEN;
            }
        }
    }
    return GSX_DONE;
}
