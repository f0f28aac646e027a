#include "picture.h"

#include <string.h>
#include <util/threading.h>

struct gest_picture {
    char *path; /* that was asked for last */
    bool asked; /* the thread does not know of it yet */
    gs_texture_t *texture;

    pthread_t thread;
    bool running; /* the thread is to be joined */
    volatile bool finished;
    char *reading;
    uint8_t *pixels; /* what the thread leaves behind; NULL where the file cannot be read */
    enum gs_color_format format;
    uint32_t width, height;
};

struct gest_picture *gest_picture_create(void) { return bzalloc(sizeof(struct gest_picture)); }

static void *read_file(void *data) {
    struct gest_picture *picture = data;
    os_set_thread_name("gest_stream: picture");
    picture->pixels = gs_create_texture_file_data2(picture->reading, GS_IMAGE_ALPHA_STRAIGHT, &picture->format,
                                                   &picture->width, &picture->height);
    if (picture->pixels == NULL)
        blog(LOG_WARNING, "[gest_stream] '%s' is not a picture that can be read; a colour is shown instead",
             picture->reading);
    os_atomic_set_bool(&picture->finished, true);
    return NULL;
}

/* One file at a time: what is asked for while one is being read has its turn afterwards. */
static void begin(struct gest_picture *picture) {
    gs_texture_destroy(picture->texture);
    picture->texture = NULL;
    picture->asked = false;
    if (picture->path[0] == '\0')
        return;
    picture->reading = bstrdup(picture->path);
    os_atomic_set_bool(&picture->finished, false);
    picture->running = pthread_create(&picture->thread, NULL, read_file, picture) == 0;
    if (!picture->running)
        bfree(picture->reading);
}

static void end(struct gest_picture *picture) {
    pthread_join(picture->thread, NULL);
    picture->running = false;
    if (picture->pixels != NULL) {
        const uint8_t *pixels = picture->pixels;
        picture->texture = gs_texture_create(picture->width, picture->height, picture->format, 1, &pixels, 0);
    }
    bfree(picture->pixels);
    bfree(picture->reading);
}

void gest_picture_destroy(struct gest_picture *picture) {
    if (picture->running)
        end(picture);
    gs_texture_destroy(picture->texture);
    bfree(picture->path);
    bfree(picture);
}

gs_texture_t *gest_picture_texture(struct gest_picture *picture, const char *path) {
    if (picture->path == NULL || strcmp(picture->path, path) != 0) {
        bfree(picture->path);
        picture->path = bstrdup(path);
        picture->asked = true;
    }
    if (picture->running && os_atomic_load_bool(&picture->finished))
        end(picture);
    if (!picture->running && picture->asked)
        begin(picture);
    return picture->asked || picture->running ? NULL : picture->texture;
}
