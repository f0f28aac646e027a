/* What both filters draw besides the effect. Every call is made from a filter's video_render. */
#ifndef GEST_OBS_DRAWING_H
#define GEST_OBS_DRAWING_H

#include "settings.h"

/* Begin drawing a texture from nothing, without blending; false where that cannot be. */
bool gest_texture_begin(gs_texrender_t *into, uint32_t width, uint32_t height);
void gest_texture_end(gs_texrender_t *into);

/* Where a filter stands. OBS takes filters out on another thread while they draw: ask once a frame, and go on with
 * that. */
struct gest_place {
    obs_source_t *target; /* what the filter gets */
    obs_source_t *parent; /* the source itself */
};

/* False where it is being taken out: there is nothing to draw. */
bool gest_find_place(obs_source_t *filter, struct gest_place *place);

/* What the filter gets, drawn into a texture: sRGB, alpha premultiplied. */
bool gest_render_target(const struct gest_place *place, gs_texrender_t *into, uint32_t width, uint32_t height);

/* The colour space of what the filter gets. */
enum gs_color_space gest_target_space(obs_source_t *target);

/* What shows while no worker answers and nothing is held. */
void gest_draw_fallback(const struct gest_place *place, const struct gest_settings *settings, uint32_t width,
                        uint32_t height);

#endif
