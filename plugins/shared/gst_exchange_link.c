#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create, ppoll, struct ucred */
#endif

#include "gst_exchange_link.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof((struct sockaddr_un *)0)->sun_path == GSX_PATH_BYTES, "sun_path has another size");

uint64_t gsx_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int gsx_default_path(char path[GSX_PATH_BYTES]) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int length;
    if (runtime != NULL && runtime[0] != '\0')
        length = snprintf(path, GSX_PATH_BYTES, "%s/gest_stream/worker.sock", runtime);
    else
        length = snprintf(path, GSX_PATH_BYTES, "/tmp/gest_stream-%lu/worker.sock", (unsigned long)geteuid());
    return length > 0 && (size_t)length < GSX_PATH_BYTES ? 0 : -1;
}

int gsx_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, length + 1);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return -1;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (connect(sock, (const struct sockaddr *)&address, sizeof address) == 0 &&
        getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid())
        return sock;
    close(sock);
    return -1;
}

uint8_t *gsx_share(size_t bytes, int *fd) {
    *fd = memfd_create("gest_stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return NULL;
    if (ftruncate(*fd, (off_t)bytes) == 0 && fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
        if (memory != MAP_FAILED)
            return memory;
    }
    close(*fd);
    *fd = -1;
    return NULL;
}

void gsx_unshare(uint8_t *memory, size_t bytes) { munmap(memory, bytes); }

void gsx_close_fd(int fd) { close(fd); }

gsx_sent gsx_send(int sock, const uint8_t *bytes, size_t length, int fd) {
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length}; /* sendmsg only reads it */
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t sent;
    do {
        sent = sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)length)
        return GSX_SENT;
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) ? GSX_FULL : GSX_UNSENT;
}

gsx_received gsx_receive(int sock, gsx_message *message) {
    uint8_t bytes[GSX_MESSAGE_BYTES + 1]; /* one more, so that a longer message shows */
    int reset = 0;
    for (;;) {
        ssize_t length = recv(sock, bytes, sizeof bytes, MSG_DONTWAIT);
        if (length > 0)
            return gsx_parse(bytes, (size_t)length, message) == 0 ? GSX_GOT : GSX_VIOLATION;
        if (length == 0)
            return GSX_ENDED;
        if (errno == EINTR)
            continue;
        if (errno == ECONNRESET && !reset) { /* reported ahead of what the worker said last, which tells why */
            reset = 1;
            continue;
        }
        return !reset && (errno == EAGAIN || errno == EWOULDBLOCK) ? GSX_NOTHING : GSX_ENDED;
    }
}

int gsx_wait(int sock, uint64_t until_ns) {
    struct pollfd fd = {.fd = sock, .events = POLLIN};
    for (;;) {
        uint64_t now = gsx_now_ns(), left = until_ns > now ? until_ns - now : 0;
        struct timespec limit = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
        int ready = ppoll(&fd, 1, &limit, NULL);
        if (ready > 0)
            return 1;
        if (ready == 0 || errno != EINTR)
            return 0;
    }
}

#else /* no memfd, no SOCK_SEQPACKET: there is never a worker */

uint64_t gsx_now_ns(void) { return 0; }

int gsx_default_path(char path[GSX_PATH_BYTES]) {
    path[0] = '\0';
    return 0;
}

int gsx_connect(const char *path) {
    (void)path;
    return -1;
}

uint8_t *gsx_share(size_t bytes, int *fd) {
    (void)bytes;
    *fd = -1;
    return NULL;
}

void gsx_unshare(uint8_t *memory, size_t bytes) {
    (void)memory;
    (void)bytes;
}

void gsx_close_fd(int fd) { (void)fd; }

gsx_sent gsx_send(int sock, const uint8_t *bytes, size_t length, int fd) {
    (void)sock;
    (void)bytes;
    (void)length;
    (void)fd;
    return GSX_UNSENT;
}

gsx_received gsx_receive(int sock, gsx_message *message) {
    (void)sock;
    (void)message;
    return GSX_ENDED;
}

int gsx_wait(int sock, uint64_t until_ns) {
    (void)sock;
    (void)until_ns;
    return 0;
}

#endif
