/* The whole client, through a real socket: a worker that says anything. An input is edits of the messages that an
 * honest worker would send next, so that they get past the first checks: groups of 4 bytes (which message, which byte of
 * it, what it is XORed with, what is left out or sent twice). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../gst_exchange.h"
#include "../gst_exchange_wire.h"
#include "check.h"
#include "fuzz.h"

#define SIDE 32u

static char folder[] = "/tmp/gsx-fuzz-XXXXXX", path[64];
static int listener = -1, worker = -1;
static gsx_client *client;
static unsigned shapes;
static gsx_message hello;

static void clean_up(void) {
    gsx_close(client);
    unlink(path);
    rmdir(folder);
}

static void set_up(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/w", folder);
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 4) == 0);
    atexit(clean_up);
}

/* What the host said: the last HELLO, and how many FRAMEs. */
static unsigned listen_to_host(gsx_message frames[GSX_SLOTS]) {
    uint8_t bytes[GSX_MESSAGE_BYTES];
    unsigned count = 0;
    while (recv(worker, bytes, sizeof bytes, MSG_DONTWAIT) == (ssize_t)sizeof bytes) {
        gsx_message m = {0};
        memcpy(&m.version, bytes + 4, 4);
        memcpy(&m.slot, bytes + 8, 24);
        memcpy(&m.seq, bytes + 32, 32);
        if (m.type == GSX_HELLO)
            hello = m;
        else if (m.type == GSX_FRAME && count < GSX_SLOTS)
            frames[count++] = m;
    }
    return count;
}

static void connect_anew(void) {
    if (worker >= 0)
        close(worker);
    gsx_close(client); /* a client that was lied to waits before it connects again */
    client = gsx_open(path);
    CHECK(client != NULL);
    CHECK_EQUAL(gsx_configure(client, SIDE + shapes++ % 2, SIDE, GSX_RGBA, GSX_OUTPUT_FRAME), 0);
    uint8_t pixels[4 * SIDE * (SIDE + 2)];
    gsx_image image = {{pixels}, {4 * (SIDE + 1)}};
    CHECK_EQUAL(gsx_poll(client, &image, NULL, NULL), GSX_PENDING); /* connects */
    worker = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(worker >= 0);
    gsx_message frames[GSX_SLOTS];
    listen_to_host(frames);
}

static void say_edited(const gsx_message *honest, unsigned index, const uint8_t *data, size_t size) {
    uint8_t bytes[2 * GSX_MESSAGE_BYTES] = {0};
    size_t length = GSX_MESSAGE_BYTES;
    unsigned times = 1;
    gsx_pack(honest, bytes);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        if (data[i] % 5 != index)
            continue;
        bytes[data[i + 1] % GSX_MESSAGE_BYTES] ^= data[i + 2];
        if (data[i + 3] >= 0xf0)
            times = data[i + 3] & 3u;
        else if (data[i + 3] >= 0xe0)
            length = (data[i + 3] & 15u) * 8;
    }
    while (times-- > 0)
        (void)!send(worker, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t in_pixels[4 * (SIDE + 1) * SIDE], guard[4 * (SIDE + 1) * SIDE], out_pixels[sizeof guard];
    gsx_image in = {{in_pixels}, {4 * (SIDE + 1)}}, out = {{out_pixels}, {4 * (SIDE + 1)}};
    gsx_message frames[GSX_SLOTS];
    if (listener < 0)
        set_up();
    memset(guard, 0x5a, sizeof guard);
    memset(out_pixels, 0x5a, sizeof out_pixels);
    if (client == NULL || gsx_state_of(client) == GSX_STATE_ABSENT || gsx_state_of(client) == GSX_STATE_REFUSED)
        connect_anew();
    if (gsx_state_of(client) == GSX_STATE_CONNECTING) {
        gsx_message welcome = hello;
        welcome.type = GSX_WELCOME;
        say_edited(&welcome, 4, data, size);
    }
    for (unsigned i = 0; i < GSX_SLOTS && (size == 0 || i <= data[0] % GSX_SLOTS); i++)
        gsx_submit(client, &in, (int64_t)i, NULL);
    const unsigned count = listen_to_host(frames);
    for (unsigned i = 0; i < count; i++) {
        gsx_message result = frames[i];
        result.type = GSX_RESULT;
        say_edited(&result, i, data, size);
    }
    const gsx_message pong = {.version = GSX_VERSION, .type = GSX_PONG, .seq = 9};
    say_edited(&pong, 3, data, size);
    for (unsigned i = 0; i < 4; i++) {
        const gsx_status status = gsx_poll_next(client, &out, NULL, NULL);
        CHECK(status == GSX_DONE || status == GSX_PENDING || status == GSX_BROKEN || status == GSX_ABSENT);
        if (status != GSX_DONE)
            break;
        CHECK(memcmp(out_pixels, guard, sizeof guard) != 0);
        memcpy(out_pixels, guard, sizeof guard);
    }
    CHECK(memcmp(out_pixels, guard, sizeof guard) == 0);
    if (gsx_state_of(client) == GSX_STATE_LATE && count == 0) /* frames it was never told about: nothing comes of it */
        connect_anew();
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *bytes, size_t room) {
    (void)room;
    const size_t size = 4 * (size_t)(n % 4); /* none, one, two or three edits */
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((n >> i) * 2654435761u >> 13);
    return size;
}
