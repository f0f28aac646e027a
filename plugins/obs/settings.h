/* What the user of a filter can set, in the words of OBS's property dialog, and how it reaches the worker. */
#ifndef GEST_OBS_SETTINGS_H
#define GEST_OBS_SETTINGS_H

#include <obs-module.h>

#include "gst_exchange.h"

enum gest_effect { GEST_OVERLAY, GEST_CUTOUT, GEST_BLUR, GEST_REPLACE, GEST_CONTOUR, GEST_EFFECTS };

/* What shows while no worker answers. */
enum gest_fallback { GEST_PASS, GEST_BLANK, GEST_HOLD, GEST_FALLBACKS };

struct gest_settings {
    enum gest_effect effect;
    enum gest_fallback fallback;
    gsx_hands hands;
    bool in_sync;
    bool start_worker;
    int mask_every;
    int search_lines; /* of the picture that hands are looked for on, effect filter only */
    double feather_px;
    double smoothing;
    double opacity;
    double blur_px;
    uint32_t colour; /* 0xAABBGGRR as OBS stores colours */
    char *picture;
    char *socket;
    char *command;
};

void gest_settings_read(struct gest_settings *settings, obs_data_t *data);
void gest_settings_free(struct gest_settings *settings);
void gest_settings_defaults(obs_data_t *data);

/* What the worker needs of them for its masks; `scale` is the size of the picture that it gets to the source's. */
void gest_settings_apply(const struct gest_settings *settings, gsx_client *client, double scale);

/* The dialog. `status` is shown on top; `async` leaves out what only the effect filter has. */
obs_properties_t *gest_settings_dialog(const char *status, bool async);

#endif
