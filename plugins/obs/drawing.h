/* What both filters draw besides the effect. Every call is made from a filter's video_render. */
#ifndef GEST_OBS_DRAWING_H
#define GEST_OBS_DRAWING_H

#include "settings.h"

/* Begin drawing a texture from nothing, without blending; false where that cannot be. */
bool gest_texture_begin(gs_texrender_t *into, uint32_t width, uint32_t height);
void gest_texture_end(gs_texrender_t *into);

/* What the filter gets, drawn into a texture: sRGB, alpha premultiplied. */
bool gest_render_target(obs_source_t *filter, gs_texrender_t *into, uint32_t width, uint32_t height);

/* Whether the filter is between two sources: OBS takes it out while it may be drawing. */
bool gest_is_in_place(obs_source_t *filter);

/* The colour space of what the filter gets. */
enum gs_color_space gest_target_space(obs_source_t *filter);

/* What shows while no worker answers and nothing is held. */
void gest_draw_fallback(obs_source_t *filter, const struct gest_settings *settings, uint32_t width, uint32_t height);

#endif
