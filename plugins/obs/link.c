#include "link.h"

#include <stdio.h>
#include <string.h>
#include <util/dstr.h>
#include <util/platform.h>
#include <util/threading.h>

#include "worker_process.h"

/* Rebuilding an open dialog takes the focus from whoever types in it. */
static const uint64_t SHORTEST_PAUSE_NS = 2000000000ull;
/* A worker that is restarted, or that OBS was faster than, gets this long to come by itself. */
static const uint64_t ABSENT_BEFORE_START_NS = 2000000000ull;

enum condition { UNSEEN, ABSENT, CONNECTING, CONNECTED, LATE, REFUSED, FORMAT };
static const char *const TEXTS[] = {"Status.Unseen", "Status.Absent",  "Status.Connecting", "Status.Connected",
                                    "Status.Late",   "Status.Refused", "Status.Format"};

struct gest_link {
    obs_source_t *filter;
    gsx_client *client;
    char *address;
    uint64_t absent_since_ns;
    uint64_t shown_ns;
    bool shown; /* an open dialog has been told of the condition */
    pthread_mutex_t lock;
    enum condition condition; /* under the lock, as is the reason */
    char reason[256];
};

struct gest_link *gest_link_create(obs_source_t *filter) {
    struct gest_link *link = bzalloc(sizeof(*link));
    link->filter = filter;
    link->shown = true;
    pthread_mutex_init(&link->lock, NULL);
    return link;
}

void gest_link_destroy(struct gest_link *link) {
    gsx_close(link->client);
    pthread_mutex_destroy(&link->lock);
    bfree(link->address);
    bfree(link);
}

gsx_client *gest_link_client(struct gest_link *link, const struct gest_settings *settings) {
    if (link->address != NULL && strcmp(link->address, settings->socket) == 0)
        return link->client;
    gsx_close(link->client);
    bfree(link->address);
    link->address = bstrdup(settings->socket);
    link->client = gsx_open(settings->socket[0] != '\0' ? settings->socket : NULL);
    if (link->client == NULL)
        blog(LOG_WARNING, "[gest_stream] '%s' cannot be the address of a worker", settings->socket);
    return link->client;
}

static enum condition condition_of(gsx_client *client, enum gest_trouble trouble) {
    if (trouble == GEST_UNKNOWN_FORMAT)
        return FORMAT;
    if (client == NULL)
        return ABSENT;
    switch (gsx_state_of(client)) {
    case GSX_STATE_CONNECTING:
        return CONNECTING;
    case GSX_STATE_READY:
    case GSX_STATE_LATE:
        return trouble == GEST_LATE ? LATE : CONNECTED;
    case GSX_STATE_REFUSED:
        return REFUSED;
    default:
        return ABSENT;
    }
}

/* A line for the dialog and the log; from any thread, free it with bfree. */
static char *status_of(struct gest_link *link) {
    struct dstr text = {0}, whole = {0};
    pthread_mutex_lock(&link->lock);
    /* the texts come from a translation file: they are put together without letting them be formats */
    dstr_copy(&text, obs_module_text(TEXTS[link->condition]));
    dstr_replace(&text, "%s", link->reason);
    pthread_mutex_unlock(&link->lock);
    dstr_copy(&whole, obs_module_text("Status"));
    dstr_replace(&whole, "%s", text.array != NULL ? text.array : "");
    dstr_free(&text);
    return whole.array;
}

void gest_link_watch(struct gest_link *link, const struct gest_settings *settings, enum gest_trouble trouble) {
    uint64_t now_ns = os_gettime_ns();
    enum condition condition = condition_of(link->client, trouble);
    const char *reason = link->client != NULL ? gsx_refusal_text(link->client) : "";
    pthread_mutex_lock(&link->lock);
    bool changed = condition != link->condition;
    link->condition = condition;
    snprintf(link->reason, sizeof(link->reason), "%s", reason);
    pthread_mutex_unlock(&link->lock);

    if (changed) {
        char *status = status_of(link);
        blog(LOG_INFO, "[gest_stream] %s: %s", obs_source_get_name(link->filter), status);
        bfree(status);
        link->shown = false;
    }
    if (!link->shown && now_ns - link->shown_ns > SHORTEST_PAUSE_NS) {
        obs_source_update_properties(link->filter);
        link->shown = true;
        link->shown_ns = now_ns;
    }
    if (condition != ABSENT || !settings->start_worker)
        link->absent_since_ns = 0;
    else if (link->absent_since_ns == 0)
        link->absent_since_ns = now_ns;
    else if (now_ns - link->absent_since_ns > ABSENT_BEFORE_START_NS)
        gest_worker_ensure(settings->command);
}

obs_properties_t *gest_link_dialog(struct gest_link *link, bool async) {
    char *status = link != NULL ? status_of(link) : NULL;
    obs_properties_t *dialog = gest_settings_dialog(status != NULL ? status : "", async);
    bfree(status);
    return dialog;
}
