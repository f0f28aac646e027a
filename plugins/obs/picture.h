/* Reads the picture that replaces the background on a thread of its own: decoding takes longer than a frame. */
#ifndef GEST_OBS_PICTURE_H
#define GEST_OBS_PICTURE_H

#include <obs-module.h>

struct gest_picture;

struct gest_picture *gest_picture_create(void);

/* Waits for a file that is being read. Needs OBS's graphics context. */
void gest_picture_destroy(struct gest_picture *picture);

/* The picture file as a texture with straight alpha; NULL for "", for what is no picture, and while it is being read.
 * Never waits. Needs OBS's graphics context. */
gs_texture_t *gest_picture_texture(struct gest_picture *picture, const char *path);

#endif
