/* What the client of the frame exchange asks of the operating system: a socket, shared memory, a clock. Linux; on other
 * systems connecting fails and nothing else is ever called. */
#ifndef GST_EXCHANGE_LINK_H
#define GST_EXCHANGE_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "gst_exchange_wire.h"

#define GSX_PATH_BYTES 108u /* of sockaddr_un.sun_path, with its NUL */

typedef enum gsx_received { GSX_GOT, GSX_NOTHING, GSX_ENDED, GSX_VIOLATION } gsx_received;
typedef enum gsx_sent { GSX_SENT, GSX_FULL, GSX_UNSENT } gsx_sent;

uint64_t gsx_now_ns(void); /* monotonic */

/* The default address. 0, or -1 where it is too long. */
int gsx_default_path(char path[GSX_PATH_BYTES]);

/* A connected non-blocking socket whose other end belongs to this user, or -1. Does not block. */
int gsx_connect(const char *path);

/* `bytes` of zeroed shared memory, sealed against shrinking and growing; its descriptor in `*fd`. NULL: none left. */
uint8_t *gsx_share(size_t bytes, int *fd);

void gsx_unshare(uint8_t *memory, size_t bytes);
void gsx_close_fd(int fd);

/* One message, with a descriptor where `fd` is not -1. Never raises SIGPIPE. */
gsx_sent gsx_send(int sock, const uint8_t *bytes, size_t length, int fd);

/* One message, checked by gsx_parse. Descriptors that come with it are discarded. */
gsx_received gsx_receive(int sock, gsx_message *message);

/* Until something can be received, or until that time. 1, or 0 when time is up. */
int gsx_wait(int sock, uint64_t until_ns);

#endif
