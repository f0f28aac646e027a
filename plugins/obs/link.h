/* A filter's connection with the worker: the client, how things stand, and starting the worker where that was asked. */
#ifndef GEST_OBS_LINK_H
#define GEST_OBS_LINK_H

#include "settings.h"

struct gest_link;

/* What a filter knows beyond the client's own state. */
enum gest_trouble { GEST_NO_TROUBLE, GEST_LATE, GEST_UNKNOWN_FORMAT };

struct gest_link *gest_link_create(obs_source_t *filter);
void gest_link_destroy(struct gest_link *link);

/* The client, opened anew when the address changed; NULL where the address cannot be one. */
gsx_client *gest_link_client(struct gest_link *link, const struct gest_settings *settings);

/* Once a frame, from the graphics thread: logs what changed, has an open dialog show it, starts the worker. */
void gest_link_watch(struct gest_link *link, const struct gest_settings *settings, enum gest_trouble trouble);

/* A filter's dialog, with how things stand on top; from any thread. Without a link it is that of no filter yet. `async`
 * leaves out what only the effect filter has. */
obs_properties_t *gest_link_dialog(struct gest_link *link, bool async);

#endif
