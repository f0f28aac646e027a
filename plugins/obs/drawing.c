#include "drawing.h"

#include <graphics/vec4.h>

bool gest_texture_begin(gs_texrender_t *into, uint32_t width, uint32_t height) {
    struct vec4 transparent;
    vec4_zero(&transparent);
    gs_texrender_reset(into);
    if (!gs_texrender_begin_with_color_space(into, width, height, GS_CS_SRGB))
        return false;
    gs_clear(GS_CLEAR_COLOR, &transparent, 0.0f, 0);
    gs_ortho(0.0f, (float)width, 0.0f, (float)height, -100.0f, 100.0f);
    gs_blend_state_push();
    gs_blend_function(GS_BLEND_ONE, GS_BLEND_ZERO);
    return true;
}

void gest_texture_end(gs_texrender_t *into) {
    gs_blend_state_pop();
    gs_texrender_end(into);
}

bool gest_find_place(obs_source_t *filter, struct gest_place *place) {
    place->target = obs_filter_get_target(filter);
    place->parent = obs_filter_get_parent(filter);
    return place->target != NULL && place->parent != NULL;
}

/* As obs_source_skip_video_filter does it, which asks again where the filter stands. */
static void draw_target(const struct gest_place *place) {
    uint32_t flags = obs_source_get_output_flags(place->parent);
    if (place->target == place->parent && (flags & (OBS_SOURCE_CUSTOM_DRAW | OBS_SOURCE_ASYNC)) == 0)
        obs_source_default_render(place->target);
    else
        obs_source_video_render(place->target);
}

bool gest_render_target(const struct gest_place *place, gs_texrender_t *into, uint32_t width, uint32_t height) {
    if (!gest_texture_begin(into, width, height))
        return false;
    draw_target(place);
    gest_texture_end(into);
    return true;
}

enum gs_color_space gest_target_space(obs_source_t *target) {
    static const enum gs_color_space known[] = {GS_CS_SRGB, GS_CS_SRGB_16F, GS_CS_709_EXTENDED};
    return target != NULL ? obs_source_get_color_space(target, OBS_COUNTOF(known), known) : GS_CS_SRGB;
}

void gest_draw_fallback(const struct gest_place *place, const struct gest_settings *settings, uint32_t width,
                        uint32_t height) {
    if (settings->fallback == GEST_PASS) {
        draw_target(place);
        return;
    }
    if (settings->effect == GEST_CUTOUT) /* a cut-out of nothing is nothing */
        return;
    gs_effect_t *solid = obs_get_base_effect(OBS_EFFECT_SOLID);
    struct vec4 black;
    vec4_set(&black, 0.0f, 0.0f, 0.0f, 1.0f);
    gs_effect_set_vec4(gs_effect_get_param_by_name(solid, "color"), &black);
    while (gs_effect_loop(solid, "Solid"))
        gs_draw_sprite(NULL, 0, width, height);
}
