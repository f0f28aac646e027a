/* The filter for cameras and media, whose frames are in memory: they go to the worker as they are, without a way over
 * the GPU, and its masks are composited on the GPU. OBS calls all of it on the graphics thread, so nothing waits for
 * the worker. In sync, frames are held until their mask is there and keep their own timestamps, which OBS lets the
 * sound follow. With low latency, frames pass at once, under the newest mask. */
#include <obs-module.h>
#include <util/platform.h>

#include "budget.h"
#include "compositor.h"
#include "drawing.h"
#include "link.h"
#include "patience.h"

struct held {
    struct obs_source_frame *frame;
    uint64_t seq;
};

struct async_filter {
    obs_source_t *source;
    struct gest_link *link;
    struct gest_compositor *compositor;
    struct gest_settings settings;
    bool settings_changed;
    gsx_format format;
    uint32_t width, height;
    bool full_range, bt709;
    struct held held[GSX_SLOTS]; /* with the worker, oldest first */
    int held_count;
    uint8_t *mask;      /* goes with the frame that OBS shows */
    uint8_t *next_mask; /* what answers are written to */
    bool new_mask;      /* that the compositor does not have yet */
    bool masked;        /* the frame that OBS shows has a mask */
    bool new_frame;     /* since the last time that it was drawn, or new settings */
    bool format_told;
    gs_texrender_t *picture;
    struct gest_patience patience;
    struct gest_budget budget;
};

static const char *async_name(void *unused) {
    UNUSED_PARAMETER(unused);
    return obs_module_text("AsyncFilter");
}

static void async_update(void *data, obs_data_t *settings) {
    struct async_filter *self = data;
    gest_settings_read(&self->settings, settings);
    self->settings_changed = true;
    self->new_frame = true;
}

static void *async_create(obs_data_t *settings, obs_source_t *source) {
    struct async_filter *self = bzalloc(sizeof(*self));
    self->source = source;
    self->link = gest_link_create(source);
    obs_enter_graphics();
    self->compositor = gest_compositor_create();
    self->picture = gs_texrender_create(GS_RGBA, GS_ZS_NONE);
    obs_leave_graphics();
    async_update(self, settings);
    return self;
}

static void async_destroy(void *data) {
    struct async_filter *self = data;
    gest_budget_log(&self->budget, "async");
    obs_enter_graphics();
    gs_texrender_destroy(self->picture);
    gest_compositor_destroy(self->compositor);
    obs_leave_graphics();
    gest_link_destroy(self->link);
    gest_settings_free(&self->settings);
    bfree(self->mask);
    bfree(self->next_mask);
    bfree(self);
}

static obs_properties_t *async_properties(void *data) {
    struct async_filter *self = data;
    return gest_link_dialog(self != NULL ? self->link : NULL, true);
}

/* The first `count` held frames go back to the source. */
static void let_go(struct async_filter *self, obs_source_t *parent, int count) {
    for (int i = 0; i < count; i++)
        obs_source_release_frame(parent, self->held[i].frame);
    for (int i = count; i < self->held_count; i++)
        self->held[i - count] = self->held[i];
    self->held_count -= count;
}

static void async_removed(void *data, obs_source_t *parent) {
    struct async_filter *self = data;
    let_go(self, parent, self->held_count);
}

/* 0 for a format that the exchange does not have, and for pictures that are upside down. */
static gsx_format format_of(const struct obs_source_frame *frame) {
    if (frame->flip)
        return 0;
    switch (frame->format) {
    case VIDEO_FORMAT_I420:
        return GSX_I420;
    case VIDEO_FORMAT_NV12:
        return GSX_NV12;
    case VIDEO_FORMAT_RGBA:
        return GSX_RGBA;
    case VIDEO_FORMAT_BGRA:
    case VIDEO_FORMAT_BGRX:
        return GSX_BGRA;
    default:
        return 0;
    }
}

/* False where the worker cannot have such frames. */
static bool follow(struct async_filter *self, obs_source_t *parent, gsx_client *client,
                   const struct obs_source_frame *frame) {
    /* The third number of OBS's matrix is what Cr adds to red; without the scale of limited range it is 1.402 in
     * BT.601 and 1.575 in BT.709 and, near enough, BT.2020. */
    float luma = frame->color_matrix[0] > 0.0f ? frame->color_matrix[0] : 1.0f;
    bool bt709 = frame->color_matrix[2] / luma > 1.46f;
    gsx_format format = format_of(frame);
    if (format != self->format || frame->width != self->width || frame->height != self->height ||
        frame->full_range != self->full_range || bt709 != self->bt709) {
        let_go(self, parent, self->held_count);
        gest_patience_lost(&self->patience);
        self->format = format;
        self->width = frame->width;
        self->height = frame->height;
        self->full_range = frame->full_range;
        self->bt709 = bt709;
        self->settings_changed = true;
        self->masked = self->new_mask = false;
        bfree(self->mask);
        bfree(self->next_mask);
        self->mask = bzalloc((size_t)frame->width * frame->height);
        self->next_mask = bzalloc((size_t)frame->width * frame->height);
    }
    if (format == 0 || gsx_configure(client, frame->width, frame->height, format, GSX_OUTPUT_MASK) != 0)
        return false;
    if (self->settings_changed) {
        gest_settings_apply(&self->settings, client, 1.0);
        gsx_set(client, GSX_MATRIX, bt709 ? GSX_MATRIX_709 : GSX_MATRIX_601);
        gsx_set(client, GSX_FULL_RANGE, frame->full_range);
        self->settings_changed = false;
    }
    return true;
}

static bool take_answer(struct async_filter *self, gsx_client *client, uint64_t *seq, bool newest) {
    gsx_image mask = {.plane = {self->next_mask}, .stride = {self->width}};
    gsx_status status = newest ? gsx_poll(client, &mask, seq, NULL) : gsx_poll_next(client, &mask, seq, NULL);
    if (status == GSX_DONE)
        gest_patience_answer(&self->patience);
    return status == GSX_DONE;
}

static void use_mask(struct async_filter *self) {
    uint8_t *mask = self->next_mask;
    self->next_mask = self->mask;
    self->mask = mask;
    self->masked = self->new_mask = true;
}

static gsx_status submit(gsx_client *client, const struct obs_source_frame *frame, uint64_t *seq) {
    gsx_image image;
    for (int i = 0; i < 3; i++) {
        image.plane[i] = frame->data[i];
        image.stride[i] = frame->linesize[i];
    }
    return gsx_submit(client, &image, (int64_t)frame->timestamp, seq);
}

/* Without a worker: the frame, with which video_render does what the user chose. Held ones are older and do not come
 * after it. */
static struct obs_source_frame *fall_back(struct async_filter *self, obs_source_t *parent,
                                          struct obs_source_frame *frame) {
    let_go(self, parent, self->held_count);
    if (self->settings.fallback == GEST_HOLD && self->masked) {
        obs_source_release_frame(parent, frame); /* OBS goes on showing the last one that it got */
        return NULL;
    }
    self->masked = false;
    return frame;
}

/* The oldest held frame whose mask is there; frames that the worker passed over are let go. */
static struct obs_source_frame *take_frame(struct async_filter *self, obs_source_t *parent, gsx_client *client) {
    uint64_t seq = 0;
    while (take_answer(self, client, &seq, false)) {
        while (self->held_count > 0 && self->held[0].seq < seq)
            let_go(self, parent, 1);
        if (self->held_count == 0 || self->held[0].seq != seq)
            continue; /* of a frame that nobody waits for any more */
        struct obs_source_frame *frame = self->held[0].frame;
        self->held_count--;
        for (int i = 0; i < self->held_count; i++)
            self->held[i] = self->held[i + 1];
        return frame;
    }
    return NULL;
}

static struct obs_source_frame *in_sync(struct async_filter *self, obs_source_t *parent, gsx_client *client,
                                        struct obs_source_frame *frame) {
    struct obs_source_frame *ready = take_frame(self, parent, client);
    uint64_t seq = 0;
    gsx_status status = submit(client, frame, &seq);
    bool holds = gest_patience_holds(&self->patience);
    if (status == GSX_DONE && self->held_count < (int)GSX_SLOTS && !gest_patience_late(&self->patience)) {
        self->held[self->held_count++] = (struct held){frame, seq};
    } else if (status != GSX_ABSENT && status != GSX_BROKEN && holds) {
        obs_source_release_frame(parent, frame); /* the source is faster than the worker */
    } else {
        if (ready != NULL)
            obs_source_release_frame(parent, ready);
        return fall_back(self, parent, frame);
    }
    if (ready != NULL)
        use_mask(self);
    return ready;
}

static struct obs_source_frame *low_latency(struct async_filter *self, obs_source_t *parent, gsx_client *client,
                                            struct obs_source_frame *frame) {
    let_go(self, parent, self->held_count);
    bool news = take_answer(self, client, NULL, true);
    submit(client, frame, NULL);
    if (!gest_patience_holds(&self->patience))
        return fall_back(self, parent, frame);
    if (news)
        use_mask(self);
    return frame;
}

static struct obs_source_frame *exchange(struct async_filter *self, obs_source_t *parent, gsx_client *client,
                                         struct obs_source_frame *frame) {
    uint64_t start_ns = os_gettime_ns();
    if (gest_patience_frame(&self->patience, start_ns))
        let_go(self, parent, self->held_count); /* from before the pause */
    gsx_state before = gsx_state_of(client);
    struct obs_source_frame *shown =
        self->settings.in_sync ? in_sync(self, parent, client, frame) : low_latency(self, parent, client, frame);
    gsx_state state = gsx_state_of(client);
    bool there = state == GSX_STATE_READY || state == GSX_STATE_LATE;
    if (!there || (before != state && before == GSX_STATE_CONNECTING))
        gest_patience_lost(&self->patience);
    if (there)
        gest_budget_spend(&self->budget, os_gettime_ns() - start_ns);
    gest_link_watch(self->link, &self->settings, gest_patience_late(&self->patience) ? GEST_LATE : GEST_NO_TROUBLE);
    return shown;
}

static struct obs_source_frame *async_filter_video(void *data, struct obs_source_frame *frame) {
    struct async_filter *self = data;
    obs_source_t *parent = obs_filter_get_parent(self->source);
    gsx_client *client = gest_link_client(self->link, &self->settings);
    struct obs_source_frame *shown = NULL;
    if (client != NULL && follow(self, parent, client, frame)) {
        shown = exchange(self, parent, client, frame);
    } else {
        if (client != NULL && !self->format_told)
            blog(LOG_WARNING, "[gest_stream] %s: frames of %ux%u pixels, format %s%s, are not supported",
                 obs_source_get_name(parent), frame->width, frame->height, get_video_format_name(frame->format),
                 frame->flip ? ", upside down" : "");
        self->format_told = true;
        gest_link_watch(self->link, &self->settings, client != NULL ? GEST_UNKNOWN_FORMAT : GEST_NO_TROUBLE);
        shown = fall_back(self, parent, frame);
    }
    self->new_frame = self->new_frame || shown != NULL;
    return shown;
}

/* The mask is of the source's own frames: what changes the picture has to come after this filter. In OBS's dialog the
 * two kinds of filters have lists of their own, so the user cannot see to that. */
static bool stands_behind(const struct gest_place *place) {
    obs_source_t *before = place->target;
    while (before != NULL && before != place->parent && (obs_source_get_output_flags(before) & OBS_SOURCE_ASYNC) != 0)
        before = obs_filter_get_target(before);
    return before != NULL && before != place->parent;
}

static void async_render(void *data, gs_effect_t *unused) {
    UNUSED_PARAMETER(unused);
    struct async_filter *self = data;
    struct gest_place place;
    if (!gest_find_place(self->source, &place))
        return;
    if (stands_behind(&place)) {
        obs_source_filter_set_order(place.parent, self->source, OBS_ORDER_MOVE_TOP);
        place.target = place.parent;
    }
    uint32_t width = obs_source_get_base_width(place.target), height = obs_source_get_base_height(place.target);
    bool turned = width != height && width == self->height && height == self->width;
    bool drawable = self->compositor != NULL && self->picture != NULL && width > 0 && height > 0 && !turned;
    if (!self->masked || !drawable) {
        gest_draw_fallback(&place, &self->settings, width, height);
        return;
    }
    if (self->new_mask)
        gest_compositor_set_mask(self->compositor, self->mask, self->width, self->height);
    if (self->new_frame || self->new_mask) {
        if (!gest_render_target(&place, self->picture, width, height))
            return;
        gest_compositor_prepare(self->compositor, &self->settings, gs_texrender_get_texture(self->picture));
    }
    self->new_frame = self->new_mask = false;
    gest_compositor_draw(self->compositor, &self->settings, gs_texrender_get_texture(self->picture), width, height);
}

const struct obs_source_info gest_async_filter = {
    .id = "gest_stream_async_filter",
    .type = OBS_SOURCE_TYPE_FILTER,
    .output_flags = OBS_SOURCE_ASYNC_VIDEO | OBS_SOURCE_SRGB,
    .get_name = async_name,
    .create = async_create,
    .destroy = async_destroy,
    .update = async_update,
    .get_defaults = gest_settings_defaults,
    .get_properties = async_properties,
    .filter_video = async_filter_video,
    .filter_remove = async_removed,
    .video_render = async_render,
};
