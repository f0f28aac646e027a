#include "pictures.h"

#include <string.h>

uint32_t stride_of(enum layout layout, uint32_t width)
{
	switch (layout) {
	case LAYOUT_RGB:
		return (width * 3 + 3) / 4 * 4;
	case LAYOUT_BGRX:
		return width * 4;
	case LAYOUT_I420:
	default:
		return width;
	}
}

uint32_t bytes_of(enum layout layout, uint32_t width, uint32_t height)
{
	uint32_t luma = stride_of(layout, width) * height;
	return layout == LAYOUT_I420 ? luma + luma / 2 : luma;
}

static void lay_out_bgrx(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *out)
{
	for (size_t i = 0; i < (size_t)width * height; i++, rgb += 3, out += 4) {
		out[0] = rgb[2];
		out[1] = rgb[1];
		out[2] = rgb[0];
		out[3] = 255;
	}
}

/* The coefficients of BT.601 in 1/256; the chroma sums are of four pixels, hence in 1/1024. */
static void lay_out_i420(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *out)
{
	uint8_t *luma = out, *cb = out + (size_t)width * height, *cr = cb + (size_t)width * height / 4;
	for (uint32_t y = 0; y < height; y += 2) {
		for (uint32_t x = 0; x < width; x += 2) {
			int sum[3] = {0, 0, 0};
			for (uint32_t i = 0; i < 4; i++) {
				size_t at = (size_t)(y + i / 2) * width + x + i % 2;
				const uint8_t *pixel = rgb + at * 3;
				luma[at] = (uint8_t)(16 + (66 * pixel[0] + 129 * pixel[1] + 25 * pixel[2] + 128) / 256);
				for (int c = 0; c < 3; c++)
					sum[c] += pixel[c];
			}
			/* the offset is inside the division, so that what is divided is never negative */
			*cb++ = (uint8_t)((128 * 1024 - 38 * sum[0] - 74 * sum[1] + 112 * sum[2] + 512) / 1024);
			*cr++ = (uint8_t)((128 * 1024 + 112 * sum[0] - 94 * sum[1] - 18 * sum[2] + 512) / 1024);
		}
	}
}

void lay_out(enum layout layout, const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *out)
{
	size_t line = (size_t)width * 3;
	switch (layout) {
	case LAYOUT_RGB:
		for (uint32_t y = 0; y < height; y++)
			memcpy(out + (size_t)y * stride_of(layout, width), rgb + y * line, line);
		break;
	case LAYOUT_BGRX:
		lay_out_bgrx(rgb, width, height, out);
		break;
	case LAYOUT_I420:
		lay_out_i420(rgb, width, height, out);
		break;
	}
}
