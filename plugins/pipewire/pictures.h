/* How an RGB picture is laid out in the formats that the camera offers. */
#ifndef GEST_STREAM_PICTURES_H
#define GEST_STREAM_PICTURES_H

#include <stdint.h>

enum layout { LAYOUT_RGB, LAYOUT_BGRX, LAYOUT_I420 };

/* Bytes from one line to the next, of the first plane. Lines are padded to four bytes, as GStreamer expects. */
uint32_t stride_of(enum layout layout, uint32_t width);

/* Bytes of a whole picture; width and height are even, and width is a multiple of eight for I420. */
uint32_t bytes_of(enum layout layout, uint32_t width, uint32_t height);

/* Lays packed RGB out. I420 is ITU-R BT.601, 16 to 235, chroma averaged over two by two pixels. */
void lay_out(enum layout layout, const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *out);

#endif
