#include "settings.h"

#include <string.h>

#include "help.h"
#include "worker_process.h"

#define T(key) obs_module_text(key)

static const char *const EFFECT_KEYS[GEST_EFFECTS] = {"overlay", "cutout", "blur", "replace", "contour"};
static const char *const EFFECT_TEXTS[GEST_EFFECTS] = {"Effect.Overlay", "Effect.Cutout", "Effect.Blur",
                                                       "Effect.Replace", "Effect.Contour"};
static const char *const HANDS_KEYS[] = {"both", "left", "right"};
static const char *const HANDS_TEXTS[] = {"Hands.Both", "Hands.Left", "Hands.Right"};
static const char *const TIMING_KEYS[] = {"low_latency", "in_sync"};
static const char *const TIMING_TEXTS[] = {"Timing.LowLatency", "Timing.InSync"};
static const char *const FALLBACK_KEYS[GEST_FALLBACKS] = {"pass", "blank", "hold"};
static const char *const FALLBACK_TEXTS[GEST_FALLBACKS] = {"Fallback.Pass", "Fallback.Blank", "Fallback.Hold"};

static const char *const PICTURES = "PNG, JPEG (*.png *.jpg *.jpeg)";
static const long long CHROMA_KEY_GREEN = 0xff40b100; /* RGB 0, 177, 64 */

static int chosen(obs_data_t *data, const char *name, const char *const *keys, int count) {
    const char *text = obs_data_get_string(data, name);
    for (int i = 0; i < count; i++) {
        if (strcmp(text, keys[i]) == 0)
            return i;
    }
    return 0;
}

static double within(double value, double low, double high) {
    return value >= low ? (value <= high ? value : high) : low;
}

/* Scene files are edited by hand and by other programs: nothing is taken as it comes. */
void gest_settings_read(struct gest_settings *settings, obs_data_t *data) {
    gest_settings_free(settings);
    *settings = (struct gest_settings){
        .effect = chosen(data, "effect", EFFECT_KEYS, GEST_EFFECTS),
        .fallback = chosen(data, "fallback", FALLBACK_KEYS, GEST_FALLBACKS),
        .hands = (gsx_hands)chosen(data, "hands", HANDS_KEYS, 3),
        .in_sync = chosen(data, "timing", TIMING_KEYS, 2) == 1,
        .start_worker = obs_data_get_bool(data, "start_worker"),
        .mask_every = (int)within((double)obs_data_get_int(data, "mask_every"), 1, 60),
        .search_lines = (int)within((double)obs_data_get_int(data, "search_lines"), 180, 2160),
        .feather_px = within(obs_data_get_double(data, "feather"), 0, 64),
        .smoothing = within(obs_data_get_double(data, "smoothing"), 0, 0.95),
        .opacity = within(obs_data_get_double(data, "opacity"), 0, 1),
        .blur_px = within(obs_data_get_double(data, "blur"), 1, 60),
        .colour = (uint32_t)obs_data_get_int(data, "colour"),
        .picture = bstrdup(obs_data_get_string(data, "picture")),
        .socket = bstrdup(obs_data_get_string(data, "socket")),
        .command = bstrdup(obs_data_get_string(data, "worker_command")),
    };
}

void gest_settings_free(struct gest_settings *settings) {
    bfree(settings->picture);
    bfree(settings->socket);
    bfree(settings->command);
    *settings = (struct gest_settings){0};
}

void gest_settings_defaults(obs_data_t *data) {
    obs_data_set_default_string(data, "effect", EFFECT_KEYS[GEST_OVERLAY]);
    obs_data_set_default_string(data, "hands", HANDS_KEYS[GSX_HANDS_BOTH]);
    obs_data_set_default_string(data, "timing", TIMING_KEYS[1]);
    obs_data_set_default_string(data, "fallback", FALLBACK_KEYS[GEST_PASS]);
    obs_data_set_default_string(data, "worker_command", GEST_WORKER_COMMAND);
    obs_data_set_default_bool(data, "start_worker", false);
    obs_data_set_default_int(data, "mask_every", 1);
    obs_data_set_default_int(data, "search_lines", 720);
    obs_data_set_default_double(data, "feather", 2.0);
    obs_data_set_default_double(data, "smoothing", 0.0);
    obs_data_set_default_double(data, "opacity", 0.45);
    obs_data_set_default_double(data, "blur", 12.0);
    obs_data_set_default_int(data, "colour", CHROMA_KEY_GREEN);
}

void gest_settings_apply(const struct gest_settings *settings, gsx_client *client, double scale) {
    /* the outline is where the mask changes: a soft edge would widen it */
    double feather_px = settings->effect == GEST_CONTOUR ? 0.0 : settings->feather_px * scale;
    gsx_set(client, GSX_HANDS, settings->hands);
    gsx_set(client, GSX_FEATHER_PX, within(feather_px, 0, 64));
    gsx_set(client, GSX_SMOOTHING, settings->smoothing);
    gsx_set(client, GSX_MASK_EVERY, settings->mask_every);
}

static void add_choice(obs_properties_t *dialog, const char *name, const char *text, const char *const *keys,
                       const char *const *texts, int count) {
    obs_property_t *list = obs_properties_add_list(dialog, name, T(text), OBS_COMBO_TYPE_LIST, OBS_COMBO_FORMAT_STRING);
    for (int i = 0; i < count; i++)
        obs_property_list_add_string(list, T(texts[i]), keys[i]);
}

static void show(obs_properties_t *dialog, const char *name, bool visible) {
    obs_property_t *property = obs_properties_get(dialog, name);
    if (property != NULL)
        obs_property_set_visible(property, visible);
}

static bool choice_changed(obs_properties_t *dialog, obs_property_t *property, obs_data_t *data) {
    UNUSED_PARAMETER(property);
    int effect = chosen(data, "effect", EFFECT_KEYS, GEST_EFFECTS);
    bool coloured = effect == GEST_OVERLAY || effect == GEST_CONTOUR;
    show(dialog, "opacity", effect == GEST_OVERLAY);
    show(dialog, "blur", effect == GEST_BLUR);
    show(dialog, "picture", effect == GEST_REPLACE);
    show(dialog, "colour", coloured || effect == GEST_REPLACE);
    show(dialog, "worker_command", obs_data_get_bool(data, "start_worker"));
    return true;
}

static void react(obs_properties_t *dialog, const char *name) {
    obs_property_set_modified_callback(obs_properties_get(dialog, name), choice_changed);
}

static bool open_help(obs_properties_t *dialog, obs_property_t *property, void *data) {
    UNUSED_PARAMETER(dialog);
    UNUSED_PARAMETER(property);
    UNUSED_PARAMETER(data);
    gest_help_open();
    return false;
}

obs_properties_t *gest_settings_dialog(const char *status, bool async) {
    obs_properties_t *dialog = obs_properties_create();
    obs_properties_add_text(dialog, "status_text", status, OBS_TEXT_INFO);
    add_choice(dialog, "effect", "Effect", EFFECT_KEYS, EFFECT_TEXTS, GEST_EFFECTS);
    add_choice(dialog, "hands", "Hands", HANDS_KEYS, HANDS_TEXTS, 3);
    obs_properties_add_float_slider(dialog, "feather", T("Feather"), 0, 64, 1);
    obs_properties_add_float_slider(dialog, "opacity", T("Opacity"), 0, 1, 0.05);
    obs_properties_add_float_slider(dialog, "blur", T("Blur"), 1, 60, 1);
    obs_properties_add_path(dialog, "picture", T("Picture"), OBS_PATH_FILE, PICTURES, NULL);
    obs_properties_add_color(dialog, "colour", T("Colour"));
    obs_properties_add_float_slider(dialog, "smoothing", T("Smoothing"), 0, 0.95, 0.05);
    obs_properties_add_int_slider(dialog, "mask_every", T("MaskEvery"), 1, 60, 1);
    add_choice(dialog, "timing", "Timing", TIMING_KEYS, TIMING_TEXTS, 2);
    if (!async)
        obs_properties_add_int(dialog, "search_lines", T("SearchLines"), 180, 2160, 60);
    add_choice(dialog, "fallback", "Fallback", FALLBACK_KEYS, FALLBACK_TEXTS, GEST_FALLBACKS);
    obs_properties_add_bool(dialog, "start_worker", T("StartWorker"));
    obs_properties_add_text(dialog, "worker_command", T("WorkerCommand"), OBS_TEXT_DEFAULT);
    obs_properties_add_text(dialog, "socket", T("Socket"), OBS_TEXT_DEFAULT);
    obs_properties_add_button(dialog, "help", T("Help"), open_help);
    react(dialog, "effect");
    react(dialog, "start_worker");
    return dialog;
}
