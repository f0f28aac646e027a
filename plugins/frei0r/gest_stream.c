/* The frei0r filter "gest_stream": every frame goes to the gest_stream worker and comes back with the effect. Whatever
 * goes wrong there, the host's own frame comes out unchanged. One instance is used by one thread at a time; a host that
 * does otherwise is made to take turns. What is known of the hands lives in the worker, one tracker an instance. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gst_exchange.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
#include <frei0r.h>
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

/* The order is part of the interface: FFmpeg's filter_params=a|b|c names parameters by it. */
enum { EFFECT, DEADLINE, SOCKET, HANDS, BACKGROUND, PARAMETERS };

static const f0r_param_info_t PARAMETER[PARAMETERS] = {
    {"effect", F0R_PARAM_STRING,
     "overlay, contour, green, blur, replace or transparent; default: what the worker was started with"},
    {"deadline", F0R_PARAM_DOUBLE, "seconds to wait for the worker before a frame passes unchanged"},
    {"socket", F0R_PARAM_STRING, "address of the worker; empty: the user's own worker"},
    {"hands", F0R_PARAM_STRING, "both, left or right"},
    {"background", F0R_PARAM_STRING, "absolute path of the picture that 'replace' shows; empty: the worker's"},
};

static const char *const EFFECTS[] = {"default", "overlay", "contour", "green", "blur", "replace", "transparent"};
static const char *const HANDS_OF[] = {"both", "left", "right"};

/* Long enough for a CPU to find hands on a frame; a worker that hangs costs GSX_LATE_LIMIT times as much, once. */
static const double DEFAULT_DEADLINE_S = 0.25;
static const double LONGEST_DEADLINE_S = 60.0;

typedef struct filter {
    pthread_mutex_t turn;
    unsigned width, height;
    char *text[PARAMETERS]; /* NULL for the one that is a number */
    double deadline_s;
    bool changed;   /* settings that the client does not have yet */
    bool readdress; /* the client has to be opened anew */
    gsx_client *client;
    int64_t frames; /* the host's time argument is in other units with every host: frames are counted instead */
    unsigned said;  /* one bit a gsx_status */
} filter;

int f0r_init(void) { return 1; }

void f0r_deinit(void) {}

void f0r_get_plugin_info(f0r_plugin_info_t *info) {
    *info = (f0r_plugin_info_t){
        .name = "gest_stream",
        .author = "The gest_stream authors",
        .plugin_type = F0R_PLUGIN_TYPE_FILTER,
        .color_model = F0R_COLOR_MODEL_RGBA8888,
        .frei0r_version = FREI0R_MAJOR_VERSION,
        .major_version = 0,
        .minor_version = 1,
        .num_params = PARAMETERS,
        .explanation = "Finds hands and shows them, or what is behind them, otherwise (needs 'gest-stream worker')",
    };
}

void f0r_get_param_info(f0r_param_info_t *info, int param_index) {
    if (param_index >= 0 && param_index < PARAMETERS)
        *info = PARAMETER[param_index];
}

static void forget(filter *self) {
    gsx_close(self->client);
    for (int i = 0; i < PARAMETERS; i++)
        free(self->text[i]);
    free(self);
}

f0r_instance_t f0r_construct(unsigned int width, unsigned int height) {
    filter *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->width = width;
    self->height = height;
    self->deadline_s = DEFAULT_DEADLINE_S;
    self->changed = true;
    self->readdress = true; /* GStreamer makes instances only to look at them: connect with the first frame */
    bool complete = true;
    for (int i = 0; i < PARAMETERS; i++) {
        if (PARAMETER[i].type != F0R_PARAM_STRING)
            continue;
        self->text[i] = strdup(i == EFFECT ? EFFECTS[0] : i == HANDS ? HANDS_OF[0] : "");
        complete = complete && self->text[i] != NULL;
    }
    if (!complete || pthread_mutex_init(&self->turn, NULL) != 0) {
        forget(self);
        return NULL;
    }
    return self;
}

void f0r_destruct(f0r_instance_t instance) {
    filter *self = instance;
    pthread_mutex_destroy(&self->turn);
    forget(self);
}

static void set_text(filter *self, int index, const char *value) {
    if (value == NULL || strcmp(value, self->text[index]) == 0)
        return;
    char *copy = strdup(value);
    if (copy == NULL)
        return;
    free(self->text[index]);
    self->text[index] = copy;
    self->changed = true;
    self->readdress = self->readdress || index == SOCKET;
}

void f0r_set_param_value(f0r_instance_t instance, f0r_param_t param, int param_index) {
    filter *self = instance;
    if (param == NULL || param_index < 0 || param_index >= PARAMETERS)
        return;
    pthread_mutex_lock(&self->turn);
    if (param_index == DEADLINE) {
        double seconds = *(const double *)param;
        if (seconds >= 0.0) /* false for what is not a number, too */
            self->deadline_s = seconds < LONGEST_DEADLINE_S ? seconds : LONGEST_DEADLINE_S;
    } else {
        set_text(self, param_index, *(char *const *)param);
    }
    pthread_mutex_unlock(&self->turn);
}

void f0r_get_param_value(f0r_instance_t instance, f0r_param_t param, int param_index) {
    filter *self = instance;
    if (param == NULL || param_index < 0 || param_index >= PARAMETERS)
        return;
    if (param_index == DEADLINE)
        *(double *)param = self->deadline_s;
    else
        *(char **)param = self->text[param_index];
}

/* Which of `names` it is; the first one, and a word about it, where it is none. Empty text is the first name. */
static int named(const char *text, const char *what, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
    }
    if (text[0] != '\0')
        fprintf(stderr, "gest_stream: there is no %s '%s'; '%s' is used\n", what, text, names[0]);
    return 0;
}

static void apply_settings(filter *self) {
    if (self->readdress) {
        gsx_close(self->client);
        const char *address = self->text[SOCKET];
        self->client = gsx_open(address[0] != '\0' ? address : NULL);
        if (self->client != NULL)
            gsx_configure(self->client, self->width, self->height, GSX_RGBA, GSX_OUTPUT_FRAME);
        else
            fprintf(stderr, "gest_stream: '%s' cannot be the address of a worker\n", address);
        self->readdress = false;
    }
    self->changed = false;
    if (self->client == NULL)
        return;
    int effects = sizeof EFFECTS / sizeof EFFECTS[0], hands = sizeof HANDS_OF / sizeof HANDS_OF[0];
    gsx_set(self->client, GSX_EFFECT, named(self->text[EFFECT], "effect", EFFECTS, effects));
    gsx_set(self->client, GSX_HANDS, named(self->text[HANDS], "choice of hands", HANDS_OF, hands));
    if (gsx_set_background(self->client, self->text[BACKGROUND]) != 0)
        fprintf(stderr, "gest_stream: the path of the background is too long, or does not begin with /\n");
}

/* Each kind of trouble is told once: a host shows stderr to its user, and a line a frame would bury everything else. */
static void tell(filter *self, gsx_status status) {
    if (status == GSX_DONE || (self->said & (1u << status)) != 0)
        return;
    self->said |= 1u << status;
    const char *why = gsx_refusal_text(self->client);
    if (why[0] == '\0')
        why = status == GSX_LATE      ? "the worker is slower than the deadline"
              : status == GSX_BROKEN  ? "the worker went away"
              : status == GSX_INVALID ? "pictures of this size are not supported"
                                      : gsx_state_text(gsx_state_of(self->client));
    fprintf(stderr, "gest_stream: frame %lld passes unchanged: %s (said once)\n", (long long)self->frames, why);
}

void f0r_update(f0r_instance_t instance, double time, const uint32_t *inframe, uint32_t *outframe) {
    (void)time;
    filter *self = instance;
    pthread_mutex_lock(&self->turn);
    if (self->changed || self->readdress)
        apply_settings(self);
    gsx_status status = GSX_ABSENT;
    uint32_t stride = self->width * 4;
    if (self->client != NULL) {
        gsx_image in = {.plane = {(uint8_t *)(uintptr_t)inframe}, .stride = {stride}};
        gsx_image out = {.plane = {(uint8_t *)outframe}, .stride = {stride}};
        int deadline_ms = (int)(self->deadline_s * 1000.0 + 0.5);
        status = gsx_process(self->client, &in, &out, self->frames, deadline_ms);
        tell(self, status);
    }
    if (status != GSX_DONE && outframe != inframe)
        memcpy(outframe, inframe, (size_t)stride * self->height);
    self->frames++;
    pthread_mutex_unlock(&self->turn);
}
