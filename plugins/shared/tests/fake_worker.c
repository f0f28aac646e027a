#define _GNU_SOURCE
#include "fake_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../gst_exchange_wire.h"
#include "check.h"

typedef struct served {
    int sock;
    uint8_t *memory;
    gsx_shape shape;
    unsigned frames, hellos, connections;
    uint8_t settings[GSX_MESSAGE_BYTES];
    char background[GSX_MAX_PATH + 1];
    gsx_message held[GSX_SLOTS];
    unsigned holding;
} served;

static void pause_ms(unsigned ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

/* The host's messages by plain copies: this is a little-endian machine, and gsx_parse reads the worker's only. */
static gsx_message host_message(const uint8_t *bytes) {
    gsx_message m;
    memset(&m, 0, sizeof m);
    CHECK(memcmp(bytes, "GSFX", 4) == 0);
    memcpy(&m.version, bytes + 4, 4);
    memcpy(&m.slot, bytes + 8, 24);
    memcpy(&m.seq, bytes + 32, 32);
    CHECK_EQUAL(m.version, 1);
    return m;
}

static void say(int sock, const gsx_message *m, trait trait) {
    uint8_t bytes[GSX_MESSAGE_BYTES + 1] = {0};
    gsx_pack(m, bytes);
    if (trait == GARBAGE && m->type == GSX_RESULT)
        for (unsigned i = 0; i < GSX_MESSAGE_BYTES; i++)
            bytes[i] = (uint8_t)(i * 37 + 11);
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {bytes, GSX_MESSAGE_BYTES + (trait == LONG_MESSAGE && m->type == GSX_RESULT)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (trait == SENDS_DESCRIPTORS) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &sock, sizeof sock);
    }
    (void)!sendmsg(sock, &message, MSG_NOSIGNAL);
}

static void take_hello(served *s, const gsx_message *m, int fd, trait trait, unsigned number) {
    CHECK(fd >= 0);
    CHECK_EQUAL(m->slot, GSX_SLOTS);
    CHECK_EQUAL(gsx_shape_of(m->width, m->height, (gsx_format)m->format, (gsx_output)m->output, &s->shape), 0);
    CHECK_EQUAL(m->bytes, s->shape.total);
    CHECK_EQUAL(m->stride, s->shape.in.row[0]);
    struct stat about;
    CHECK(fstat(fd, &about) == 0 && (uint64_t)about.st_size == m->bytes);
    const int seals = fcntl(fd, F_GET_SEALS);
    CHECK((seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW));
    s->memory = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(s->memory != MAP_FAILED);
    for (uint64_t i = 0; i < m->bytes; i += 97)
        CHECK(s->memory[i] == 0); /* nothing stale */
    close(fd);
    s->hellos++;
    gsx_message answer = *m;
    if (trait == REFUSES) {
        memset(&answer, 0, sizeof answer);
        answer.version = GSX_VERSION;
        answer.type = GSX_REFUSE;
        answer.seq = m->seq;
        answer.flags = number;
    } else {
        answer.type = GSX_WELCOME;
    }
    if (trait != NEVER_WELCOMES)
        say(s->sock, &answer, trait);
}

static void fill_output(served *s, const gsx_message *m, trait trait) {
    const uint8_t *in = s->memory + gsx_input_at(&s->shape, m->slot);
    uint8_t *out = s->memory + gsx_output_at(&s->shape, m->slot);
    for (size_t i = 0; i < s->shape.out.bytes; i++)
        out[i] = (uint8_t)~in[i]; /* a mask: of the first plane */
    if (trait == TELLS_SETTINGS) {
        memcpy(out, s->settings, sizeof s->settings);
        memcpy(out + sizeof s->settings, s->background, strlen(s->background) + 1);
    } else if (trait == TELLS_HELLOS) {
        out[0] = (uint8_t)s->hellos;
        out[1] = (uint8_t)s->connections;
    }
}

static void answer_frame(served *s, const gsx_message *frame, trait trait, uint32_t took_us) {
    gsx_message m = *frame;
    m.type = GSX_RESULT;
    m.stride = (uint32_t)s->shape.out.row[0];
    m.bytes = s->shape.out.bytes;
    m.took_us = took_us;
    if ((trait == SKIPS_ODD && s->frames % 2 == 1) || trait == FAILS) {
        m.flags = trait == FAILS ? GSX_FAILED : GSX_SKIPPED;
        m.bytes = 0;
    } else {
        fill_output(s, frame, trait);
    }
    if (trait == WRONG_SEQ)
        m.seq += 7;
    if (trait == WRONG_SLOT)
        m.slot = 3000000000u;
    if (trait == WRONG_BYTES)
        m.bytes += 1;
    say(s->sock, &m, trait);
}

static void flood(int sock) {
    const gsx_message pong = {.version = GSX_VERSION, .type = GSX_PONG, .seq = 1};
    uint8_t bytes[GSX_MESSAGE_BYTES];
    gsx_pack(&pong, bytes);
    while (send(sock, bytes, sizeof bytes, MSG_NOSIGNAL) > 0) {
    }
}

static void take_frame(served *s, const gsx_message *m, trait trait, unsigned number) {
    CHECK(m->slot < GSX_SLOTS);
    CHECK_EQUAL(m->bytes, s->shape.in.bytes);
    CHECK_EQUAL(m->width, s->shape.width);
    CHECK_EQUAL(m->height, s->shape.height);
    s->frames++;
    if (trait == DIES_AT && s->frames == number)
        _exit(0);
    if (trait == HANGS_AT && s->frames >= number)
        pause_ms(1000000);
    if (trait == FLOODS)
        flood(s->sock);
    uint32_t took = 0;
    if (trait == SLOW || trait == SLOW_AND_LIES)
        took = number;
    if (trait == SLOW_UNTIL && s->frames <= number)
        took = 40;
    pause_ms(took);
    if (trait == HOLDS_THREE) {
        s->held[s->holding++] = *m;
        for (unsigned i = 0; s->holding == GSX_SLOTS && i < GSX_SLOTS; i++)
            answer_frame(s, &s->held[i], trait, 0);
        s->holding %= GSX_SLOTS;
        return;
    }
    answer_frame(s, m, trait, trait == SLOW_AND_LIES ? 0 : took * 1000);
}

static void serve_one(served *s, trait trait, unsigned number) {
    uint8_t bytes[GSX_MESSAGE_BYTES + GSX_MAX_PATH + 1];
    for (;;) {
        union {
            char room[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control = {{0}};
        struct iovec part = {bytes, sizeof bytes};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
        const ssize_t length = recvmsg(s->sock, &message, MSG_CMSG_CLOEXEC);
        if (length <= 0)
            return;
        int fd = -1;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header != NULL)
            memcpy(&fd, CMSG_DATA(header), sizeof fd);
        const gsx_message m = host_message(bytes);
        CHECK((size_t)length == GSX_MESSAGE_BYTES + (m.type == GSX_BACKGROUND ? m.bytes : 0));
        if (m.type == GSX_HELLO) {
            take_hello(s, &m, fd, trait, number);
            if (trait == REFUSES)
                return;
        } else if (m.type == GSX_FRAME) {
            take_frame(s, &m, trait, number);
        } else if (m.type == GSX_SETTINGS_TYPE) {
            memcpy(s->settings, bytes, GSX_MESSAGE_BYTES);
        } else if (m.type == GSX_BACKGROUND) {
            memcpy(s->background, bytes + GSX_MESSAGE_BYTES, m.bytes);
            s->background[m.bytes] = '\0';
        } else {
            CHECK(!"a type that a host may send");
        }
    }
}

fake_worker start_worker(const char *path, trait trait, unsigned number) {
    fake_worker worker;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof worker.path);
    strcpy(worker.path, path);
    strcpy(address.sun_path, path);
    unlink(path);
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 4) == 0);
    worker.pid = fork();
    CHECK(worker.pid >= 0);
    if (worker.pid == 0) {
        served s;
        memset(&s, 0, sizeof s);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        for (;;) {
            s.sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (s.sock < 0)
                _exit(0);
            s.connections++;
            serve_one(&s, trait, number);
            close(s.sock);
        }
    }
    close(listener);
    return worker;
}

void kill_worker(fake_worker *worker) {
    int how = 0;
    kill(worker->pid, SIGKILL);
    CHECK(waitpid(worker->pid, &how, 0) == worker->pid);
    CHECK(WIFSIGNALED(how) || WEXITSTATUS(how) == 0);
    unlink(worker->path);
}
