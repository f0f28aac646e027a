#include "compositor.h"

#include <graphics/vec2.h>
#include <graphics/vec4.h>
#include <math.h>

#include "picture.h"

/* The blurred background is worked out at a quarter of the picture's size. */
static const uint32_t SHRINK = 4;
/* The shader takes 12 taps to either side; 2.5 sigma hold 99 % of a Gaussian. */
static const float TAPS = 12.0f;
static const float SIGMAS = 2.5f;
/* Taps further apart than this see a picture that was smoothed first, or they would miss what lies between. */
static const float WIDEST_PACE = 1.25f;

struct gest_compositor {
    gs_effect_t *effect;
    gs_texture_t *mask;
    uint32_t mask_width, mask_height;
    gs_texrender_t *blurred, *half_blurred;
    bool blur_is_linear;
    struct gest_picture *file;
    gs_texture_t *background; /* the file's */
};

struct gest_compositor *gest_compositor_create(void) {
    char *path = obs_module_file("hands.effect");
    char *problem = NULL;
    gs_effect_t *effect = path != NULL ? gs_effect_create_from_file(path, &problem) : NULL;
    if (effect == NULL)
        blog(LOG_ERROR, "[gest_stream] hands.effect cannot be used: %s",
             path == NULL      ? "the plugin's data folder was not installed"
             : problem != NULL ? problem
                               : "");
    bfree(problem);
    bfree(path);
    if (effect == NULL)
        return NULL;
    struct gest_compositor *compositor = bzalloc(sizeof(*compositor));
    compositor->effect = effect;
    compositor->file = gest_picture_create();
    return compositor;
}

void gest_compositor_destroy(struct gest_compositor *compositor) {
    if (compositor == NULL)
        return;
    gs_effect_destroy(compositor->effect);
    gs_texture_destroy(compositor->mask);
    gs_texrender_destroy(compositor->blurred);
    gs_texrender_destroy(compositor->half_blurred);
    gest_picture_destroy(compositor->file);
    bfree(compositor);
}

void gest_compositor_set_mask(struct gest_compositor *compositor, const uint8_t *mask, uint32_t width,
                              uint32_t height) {
    if (compositor->mask == NULL || compositor->mask_width != width || compositor->mask_height != height) {
        gs_texture_destroy(compositor->mask);
        compositor->mask = gs_texture_create(width, height, GS_R8, 1, NULL, GS_DYNAMIC);
        compositor->mask_width = width;
        compositor->mask_height = height;
    }
    if (compositor->mask != NULL)
        gs_texture_set_image(compositor->mask, mask, width, false);
}

static gs_eparam_t *param(struct gest_compositor *compositor, const char *name) {
    return gs_effect_get_param_by_name(compositor->effect, name);
}

static void set_picture(gs_eparam_t *where, gs_texture_t *picture, bool linear) {
    if (linear)
        gs_effect_set_texture_srgb(where, picture);
    else
        gs_effect_set_texture(where, picture);
}

static void set_pair(struct gest_compositor *compositor, const char *name, float x, float y) {
    struct vec2 pair;
    vec2_set(&pair, x, y);
    gs_effect_set_vec2(param(compositor, name), &pair);
}

/* One pass of `technique` over `from`, into `to`. */
static void pass(struct gest_compositor *compositor, const char *technique, gs_texture_t *from, gs_texrender_t *to,
                 uint32_t width, uint32_t height) {
    gs_texrender_reset(to);
    if (!gs_texrender_begin(to, width, height))
        return;
    gs_ortho(0.0f, (float)width, 0.0f, (float)height, -100.0f, 100.0f);
    gs_blend_state_push();
    gs_blend_function(GS_BLEND_ONE, GS_BLEND_ZERO);
    while (gs_effect_loop(compositor->effect, technique))
        gs_draw_sprite(from, 0, width, height);
    gs_blend_state_pop();
    gs_texrender_end(to);
}

/* Gaussian along both axes, from and to `blurred`. */
static void smooth(struct gest_compositor *compositor, float sigma, float pace, uint32_t width, uint32_t height) {
    float spread = sigma / pace;
    for (int along_y = 0; along_y < 2; along_y++) {
        gs_texture_t *from = gs_texrender_get_texture(along_y ? compositor->half_blurred : compositor->blurred);
        gs_effect_set_texture(param(compositor, "image"), from);
        gs_effect_set_float(param(compositor, "falloff"), -0.5f / (spread * spread));
        set_pair(compositor, "pace", along_y ? 0.0f : pace / (float)width, along_y ? pace / (float)height : 0.0f);
        pass(compositor, "Across", from, along_y ? compositor->blurred : compositor->half_blurred, width, height);
    }
}

static void blur(struct gest_compositor *compositor, double sigma_at_720, gs_texture_t *picture) {
    uint32_t full_width = gs_texture_get_width(picture), full_height = gs_texture_get_height(picture);
    uint32_t width = full_width / SHRINK > 0 ? full_width / SHRINK : 1;
    uint32_t height = full_height / SHRINK > 0 ? full_height / SHRINK : 1;
    float lines = (float)(width < height ? width : height);
    float sigma = fmaxf((float)sigma_at_720 * lines / 720.0f, 0.3f);
    if (compositor->blurred == NULL) {
        compositor->blurred = gs_texrender_create(GS_RGBA16F, GS_ZS_NONE);
        compositor->half_blurred = gs_texrender_create(GS_RGBA16F, GS_ZS_NONE);
    }
    compositor->blur_is_linear = gs_get_linear_srgb();
    gs_effect_set_texture(param(compositor, "mask"), compositor->mask);
    set_picture(param(compositor, "image"), picture, compositor->blur_is_linear);
    set_pair(compositor, "pace", 0.25f / (float)width, 0.25f / (float)height);
    pass(compositor, "Shrink", picture, compositor->blurred, width, height);
    float pace = fmaxf(sigma * SIGMAS / TAPS, 1.0f);
    if (pace > WIDEST_PACE)
        smooth(compositor, pace, 1.0f, width, height);
    smooth(compositor, sigma, pace, width, height);
}

void gest_compositor_prepare(struct gest_compositor *compositor, const struct gest_settings *settings,
                             gs_texture_t *picture) {
    if (settings->effect == GEST_BLUR && compositor->mask != NULL)
        blur(compositor, settings->blur_px, picture);
}

/* `behind` covers the picture, cropped evenly. */
static void set_cover(struct gest_compositor *compositor, uint32_t width, uint32_t height) {
    float wide =
        (float)gs_texture_get_width(compositor->background) / (float)gs_texture_get_height(compositor->background);
    float wanted = (float)width / (float)height;
    float x = wide > wanted ? wanted / wide : 1.0f;
    float y = wide > wanted ? 1.0f : wide / wanted;
    set_pair(compositor, "cover_scale", x, y);
    set_pair(compositor, "cover_offset", (1.0f - x) / 2.0f, (1.0f - y) / 2.0f);
}

static const char *set_up(struct gest_compositor *compositor, const struct gest_settings *settings, bool linear,
                          uint32_t width, uint32_t height) {
    struct vec4 colour;
    if (linear)
        vec4_from_rgba_srgb(&colour, settings->colour);
    else
        vec4_from_rgba(&colour, settings->colour);
    gs_effect_set_vec4(param(compositor, "colour"), &colour);
    gs_effect_set_float(param(compositor, "opacity"), (float)settings->opacity);
    switch (settings->effect) {
    case GEST_CUTOUT:
        return "CutOut";
    case GEST_BLUR:
        gs_effect_set_texture(param(compositor, "behind"), gs_texrender_get_texture(compositor->blurred));
        gs_effect_set_bool(param(compositor, "encode"), compositor->blur_is_linear && !linear);
        return "Blur";
    case GEST_REPLACE:
        compositor->background = gest_picture_texture(compositor->file, settings->picture);
        if (compositor->background == NULL)
            return "Fill";
        set_picture(param(compositor, "behind"), compositor->background, linear);
        set_cover(compositor, width, height);
        return "Replace";
    case GEST_CONTOUR: {
        float half_px = fmaxf(1.0f, (float)(width < height ? width : height) / 300.0f);
        set_pair(compositor, "reach", half_px / (float)width, half_px / (float)height);
        return "Contour";
    }
    default:
        return "Overlay";
    }
}

void gest_compositor_draw(struct gest_compositor *compositor, const struct gest_settings *settings,
                          gs_texture_t *picture, uint32_t width, uint32_t height) {
    if (compositor->mask == NULL)
        return;
    bool linear = gs_get_linear_srgb();
    bool previous = gs_framebuffer_srgb_enabled();
    const char *technique = set_up(compositor, settings, linear, width, height);
    gs_enable_framebuffer_srgb(linear);
    set_picture(param(compositor, "image"), picture, linear);
    gs_effect_set_texture(param(compositor, "mask"), compositor->mask);
    gs_blend_state_push();
    gs_blend_function(GS_BLEND_ONE, GS_BLEND_INVSRCALPHA);
    while (gs_effect_loop(compositor->effect, technique))
        gs_draw_sprite(picture, 0, width, height);
    gs_blend_state_pop();
    gs_enable_framebuffer_srgb(previous);
}
