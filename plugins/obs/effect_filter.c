/* The filter for every source: OBS renders the source into a texture, a small copy of it goes to the worker, the mask
 * that comes back is composited on the GPU. The picture stays on the GPU; the copy is downloaded one frame late, so
 * that nothing waits for the GPU, and nothing here waits for the worker. */
#include <obs-module.h>
#include <util/platform.h>

#include "budget.h"
#include "compositor.h"
#include "drawing.h"
#include "link.h"
#include "patience.h"

/* One on show, GSX_SLOTS with the worker, one being downloaded. */
enum { PICTURES = GSX_SLOTS + 2 };

struct picture {
    gs_texrender_t *full;
    gs_stagesurf_t *download;
    bool staged;  /* on its way from the GPU */
    uint64_t seq; /* with the worker; 0: not */
};

struct effect_filter {
    obs_source_t *source;
    struct gest_link *link;
    struct gest_compositor *compositor;
    struct gest_settings settings;
    bool settings_changed;
    struct picture pictures[PICTURES];
    int shown; /* index of the picture whose mask the compositor has, or the newest with low latency; -1: none */
    gs_texrender_t *small;
    uint8_t *mask;
    uint32_t width, height;             /* of the source */
    uint32_t small_width, small_height; /* of what the worker gets */
    bool new_frame;
    bool hdr_told;
    struct gest_patience patience;
    struct gest_budget budget;
};

static const char *effect_name(void *unused) {
    UNUSED_PARAMETER(unused);
    return obs_module_text("EffectFilter");
}

static void effect_update(void *data, obs_data_t *settings) {
    struct effect_filter *self = data;
    gest_settings_read(&self->settings, settings);
    self->settings_changed = true;
}

static void *effect_create(obs_data_t *settings, obs_source_t *source) {
    struct effect_filter *self = bzalloc(sizeof(*self));
    self->source = source;
    self->shown = -1;
    self->link = gest_link_create(source);
    obs_enter_graphics();
    self->compositor = gest_compositor_create();
    obs_leave_graphics();
    effect_update(self, settings);
    return self;
}

static void free_pictures(struct effect_filter *self) {
    for (int i = 0; i < PICTURES; i++) {
        gs_texrender_destroy(self->pictures[i].full);
        gs_stagesurface_destroy(self->pictures[i].download);
        self->pictures[i] = (struct picture){0};
    }
    gs_texrender_destroy(self->small);
    bfree(self->mask);
    self->small = NULL;
    self->mask = NULL;
    self->shown = -1;
    gest_patience_lost(&self->patience);
}

static void effect_destroy(void *data) {
    struct effect_filter *self = data;
    gest_budget_log(&self->budget, "effect");
    obs_enter_graphics();
    free_pictures(self);
    gest_compositor_destroy(self->compositor);
    obs_leave_graphics();
    gest_link_destroy(self->link);
    gest_settings_free(&self->settings);
    bfree(self);
}

static obs_properties_t *effect_properties(void *data) {
    struct effect_filter *self = data;
    return gest_link_dialog(self != NULL ? self->link : NULL, false);
}

/* Sizes follow the source and the setting; false where there is nothing to draw. */
static bool fit(struct effect_filter *self, gsx_client *client, uint32_t width, uint32_t height) {
    uint32_t lines = (uint32_t)self->settings.search_lines, shorter = width < height ? width : height;
    if (width == 0 || height == 0 || width > 16384 || height > 16384)
        return false;
    uint32_t small_width = shorter > lines ? (uint32_t)((uint64_t)width * lines / shorter) : width;
    uint32_t small_height = shorter > lines ? (uint32_t)((uint64_t)height * lines / shorter) : height;
    if (width != self->width || height != self->height || small_width != self->small_width ||
        small_height != self->small_height || self->mask == NULL) {
        free_pictures(self);
        self->width = width;
        self->height = height;
        self->small_width = small_width;
        self->small_height = small_height;
        self->small = gs_texrender_create(GS_RGBA, GS_ZS_NONE);
        self->mask = bzalloc((size_t)small_width * small_height);
        for (int i = 0; i < PICTURES; i++) {
            self->pictures[i].full = gs_texrender_create(GS_RGBA, GS_ZS_NONE);
            self->pictures[i].download = gs_stagesurface_create(small_width, small_height, GS_RGBA);
        }
        self->settings_changed = true;
    }
    if (gsx_configure(client, small_width, small_height, GSX_RGBA, GSX_OUTPUT_MASK) != 0)
        return false;
    if (self->settings_changed) {
        gest_settings_apply(&self->settings, client, (double)small_height / (double)height);
        self->settings_changed = false;
    }
    return true;
}

static void take_answer(struct effect_filter *self, gsx_client *client) {
    gsx_image mask = {.plane = {self->mask}, .stride = {self->small_width}};
    uint64_t seq = 0;
    int found = -1;
    gsx_status status = gsx_poll(client, &mask, &seq, NULL);
    if (status == GSX_DONE)
        gest_patience_answer(&self->patience);
    for (int i = 0; i < PICTURES; i++) {
        struct picture *picture = &self->pictures[i];
        if (status == GSX_DONE && picture->seq == seq)
            found = i;
        bool gone = status == GSX_ABSENT || status == GSX_BROKEN;
        if (gone || (status == GSX_DONE && picture->seq <= seq))
            picture->seq = 0;
    }
    if (status != GSX_DONE || (self->settings.in_sync && found < 0))
        return;
    gest_compositor_set_mask(self->compositor, self->mask, self->small_width, self->small_height);
    if (self->settings.in_sync)
        self->shown = found;
}

static void hand_over(struct effect_filter *self, gsx_client *client) {
    for (int i = 0; i < PICTURES; i++) {
        struct picture *picture = &self->pictures[i];
        uint8_t *pixels;
        uint32_t stride;
        if (!picture->staged)
            continue;
        picture->staged = false;
        if (!gs_stagesurface_map(picture->download, &pixels, &stride))
            continue;
        gsx_image in = {.plane = {pixels}, .stride = {stride}};
        if (gsx_submit(client, &in, (int64_t)self->patience.frame_ns, &picture->seq) != GSX_DONE)
            picture->seq = 0;
        gs_stagesurface_unmap(picture->download);
    }
}

/* One that nobody needs; else the one that is with the worker longest, which may have failed on it without a word. */
static int free_picture(const struct effect_filter *self) {
    int oldest = -1;
    for (int i = 0; i < PICTURES; i++) {
        const struct picture *picture = &self->pictures[i];
        if (i != self->shown && !picture->staged && (oldest < 0 || picture->seq < self->pictures[oldest].seq))
            oldest = i;
    }
    return oldest;
}

/* The bytes as they are, scaled down: the worker takes sRGB, as OBS keeps it. */
static bool scale_down(struct effect_filter *self, gs_texture_t *full) {
    if (!gest_texture_begin(self->small, self->small_width, self->small_height))
        return false;
    gs_effect_t *plain = obs_get_base_effect(OBS_EFFECT_DEFAULT);
    bool previous = gs_framebuffer_srgb_enabled();
    gs_enable_framebuffer_srgb(false);
    gs_effect_set_texture(gs_effect_get_param_by_name(plain, "image"), full);
    while (gs_effect_loop(plain, "Draw"))
        gs_draw_sprite(full, 0, self->small_width, self->small_height);
    gs_enable_framebuffer_srgb(previous);
    gest_texture_end(self->small);
    return true;
}

static void capture(struct effect_filter *self, const struct gest_place *place, bool show) {
    int i = free_picture(self);
    if (i < 0 || !gest_render_target(place, self->pictures[i].full, self->width, self->height))
        return;
    self->pictures[i].seq = 0;
    if (scale_down(self, gs_texrender_get_texture(self->pictures[i].full))) {
        gs_stage_texture(self->pictures[i].download, gs_texrender_get_texture(self->small));
        self->pictures[i].staged = true;
    }
    if (show)
        self->shown = i;
}

static void advance(struct effect_filter *self, const struct gest_place *place, gsx_client *client) {
    uint64_t start_ns = os_gettime_ns();
    gest_patience_frame(&self->patience, start_ns);
    take_answer(self, client);
    hand_over(self, client);
    uint64_t held_ns = os_gettime_ns() - start_ns;
    gsx_state state = gsx_state_of(client);
    if (state == GSX_STATE_READY || state == GSX_STATE_LATE) {
        bool frozen = self->settings.fallback == GEST_HOLD && !gest_patience_holds(&self->patience);
        capture(self, place, !self->settings.in_sync && !frozen);
        gest_budget_spend(&self->budget, held_ns);
    } else {
        gest_patience_lost(&self->patience);
    }
    bool late = gest_patience_late(&self->patience);
    gest_link_watch(self->link, &self->settings, late ? GEST_LATE : GEST_NO_TROUBLE);
    if (self->shown >= 0)
        gest_compositor_prepare(self->compositor, &self->settings,
                                gs_texrender_get_texture(self->pictures[self->shown].full));
}

static void draw(struct effect_filter *self, const struct gest_place *place) {
    bool shows = gest_patience_holds(&self->patience) || self->settings.fallback == GEST_HOLD;
    if (shows && self->shown >= 0)
        gest_compositor_draw(self->compositor, &self->settings,
                             gs_texrender_get_texture(self->pictures[self->shown].full), self->width, self->height);
    else
        gest_draw_fallback(place, &self->settings, self->width, self->height);
}

static enum gs_color_space effect_color_space(void *data, size_t count, const enum gs_color_space *preferred) {
    UNUSED_PARAMETER(count);
    UNUSED_PARAMETER(preferred);
    enum gs_color_space space = gest_target_space(obs_filter_get_target(((struct effect_filter *)data)->source));
    return space == GS_CS_SRGB_16F ? GS_CS_SRGB : space;
}

static void effect_render(void *data, gs_effect_t *unused) {
    UNUSED_PARAMETER(unused);
    struct effect_filter *self = data;
    struct gest_place place;
    if (!gest_find_place(self->source, &place))
        return;
    enum gs_color_space space = gest_target_space(place.target);
    uint32_t width = obs_source_get_base_width(place.target), height = obs_source_get_base_height(place.target);
    gsx_client *client = gest_link_client(self->link, &self->settings);
    bool hdr = space != GS_CS_SRGB && space != GS_CS_SRGB_16F;
    if (hdr && !self->hdr_told)
        blog(LOG_WARNING, "[gest_stream] %s: HDR pictures get no effect", obs_source_get_name(self->source));
    self->hdr_told = self->hdr_told || hdr;
    if (hdr || self->compositor == NULL || client == NULL || !fit(self, client, width, height)) {
        gest_draw_fallback(&place, &self->settings, width, height);
        return;
    }
    /* OBS draws a source once for every view that shows it */
    if (self->new_frame) {
        self->new_frame = false;
        advance(self, &place, client);
    }
    draw(self, &place);
}

static void effect_tick(void *data, float seconds) {
    UNUSED_PARAMETER(seconds);
    struct effect_filter *self = data;
    self->new_frame = true;
}

const struct obs_source_info gest_effect_filter = {
    .id = "gest_stream_effect_filter",
    .type = OBS_SOURCE_TYPE_FILTER,
    .output_flags = OBS_SOURCE_VIDEO | OBS_SOURCE_SRGB,
    .get_name = effect_name,
    .create = effect_create,
    .destroy = effect_destroy,
    .update = effect_update,
    .get_defaults = gest_settings_defaults,
    .get_properties = effect_properties,
    .video_tick = effect_tick,
    .video_render = effect_render,
    .video_get_color_space = effect_color_space,
};
