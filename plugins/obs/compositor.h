/* Draws a picture with the hands' mask on the GPU. Every call needs OBS's graphics context. */
#ifndef GEST_OBS_COMPOSITOR_H
#define GEST_OBS_COMPOSITOR_H

#include "settings.h"

struct gest_compositor;

/* NULL where the shader is missing or does not compile; OBS's log has the reason. */
struct gest_compositor *gest_compositor_create(void);
void gest_compositor_destroy(struct gest_compositor *compositor);

/* The mask, 1 byte a pixel, of a picture of any size. */
void gest_compositor_set_mask(struct gest_compositor *compositor, const uint8_t *mask, uint32_t width, uint32_t height);

/* Once a frame, before drawing it: what the effect needs besides picture and mask. */
void gest_compositor_prepare(struct gest_compositor *compositor, const struct gest_settings *settings,
                             gs_texture_t *picture);

/* The effect, with premultiplied alpha, `width` by `height` pixels large. */
void gest_compositor_draw(struct gest_compositor *compositor, const struct gest_settings *settings,
                          gs_texture_t *picture, uint32_t width, uint32_t height);

#endif
