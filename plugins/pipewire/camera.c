/* A PipeWire camera that shows the frames of its standard input.
 *
 *   gest_stream_camera WIDTH HEIGHT RATE [NAME]
 *
 * The input is packed RGB frames of WIDTH x HEIGHT, both even, RATE is as 30 or 30000/1001. Input is read as fast as
 * it comes, whatever the consumers do: they get the newest frame, each once. "ready NODE" on standard output says that
 * the camera is there. Exits with 0 at the end of the input, SIGTERM or SIGINT; 2 where the arguments are wrong, 3
 * where PipeWire cannot be reached, 4 where it goes away, each with a line on standard error.
 *
 * Source: PipeWire's documentation of pw_stream, sections "Produce data" and "pw_stream_trigger_process". */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pipewire/pipewire.h>
#include <spa/param/video/format-utils.h>

#include "frames.h"
#include "pictures.h"

enum { EXIT_USAGE = 2, EXIT_ABSENT = 3, EXIT_GONE = 4 };
enum { LARGEST_SIDE = 8192, BUFFERS = 4, BUFFERS_MOST = 16 };

struct camera {
	uint32_t width, height;
	struct spa_fraction rate;
	struct frames frames;

	struct pw_main_loop *loop;
	struct pw_context *context;
	struct pw_core *core;
	struct pw_stream *stream;
	struct spa_hook core_hook, stream_hook;
	struct spa_source *frame_event, *end_event;

	enum layout layout;
	bool streaming, told_ready;
	uint64_t sequence;
	int exit_code;
};

static void give_up(struct camera *camera, int exit_code, const char *what, const char *why)
{
	/* the first reason is the one that counts */
	if (camera->exit_code == 0) {
		fprintf(stderr, "gest_stream_camera: %s: %s\n", what, why != NULL ? why : "no reason given");
		camera->exit_code = exit_code;
	}
	pw_main_loop_quit(camera->loop);
}

/* ---- frames: what the reading thread says goes to the loop as an event ---- */

static void frame_arrived(void *data)
{
	struct camera *camera = data;
	pw_loop_signal_event(pw_main_loop_get_loop(camera->loop), camera->frame_event);
}

static void input_ended(void *data)
{
	struct camera *camera = data;
	pw_loop_signal_event(pw_main_loop_get_loop(camera->loop), camera->end_event);
}

static void on_frame(void *data, uint64_t count)
{
	struct camera *camera = data;
	(void)count;
	if (camera->streaming)
		pw_stream_trigger_process(camera->stream);
}

static void on_end(void *data, uint64_t count)
{
	struct camera *camera = data;
	(void)count;
	pw_main_loop_quit(camera->loop);
}

static void on_signal(void *data, int number)
{
	struct camera *camera = data;
	(void)number;
	pw_main_loop_quit(camera->loop);
}

/* ---- the stream ---- */

static void fill_header(struct camera *camera, struct spa_buffer *buffer)
{
	struct spa_meta_header *header = spa_buffer_find_meta_data(buffer, SPA_META_Header, sizeof(*header));
	if (header == NULL)
		return;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	header->flags = 0;
	header->offset = 0;
	header->pts = SPA_TIMESPEC_TO_NSEC(&now);
	header->dts_offset = 0;
	header->seq = camera->sequence++;
}

static void on_process(void *data)
{
	struct camera *camera = data;
	if (!frames_fresh(&camera->frames))
		return;
	/* none is free while consumers hold them all; the frame waits, and a newer one takes its place */
	struct pw_buffer *held = pw_stream_dequeue_buffer(camera->stream);
	if (held == NULL)
		return;
	struct spa_data *plane = &held->buffer->datas[0];
	uint32_t bytes = bytes_of(camera->layout, camera->width, camera->height);
	const uint8_t *frame = NULL;
	if (plane->data != NULL && plane->maxsize >= bytes)
		frame = frames_take(&camera->frames);
	if (frame != NULL)
		lay_out(camera->layout, frame, camera->width, camera->height, plane->data);
	plane->chunk->offset = 0;
	plane->chunk->size = frame != NULL ? bytes : 0;
	plane->chunk->stride = (int32_t)stride_of(camera->layout, camera->width);
	plane->chunk->flags = frame != NULL ? SPA_CHUNK_FLAG_NONE : SPA_CHUNK_FLAG_CORRUPTED;
	fill_header(camera, held->buffer);
	pw_stream_queue_buffer(camera->stream, held);
}

static bool layout_from(uint32_t format, enum layout *layout)
{
	switch (format) {
	case SPA_VIDEO_FORMAT_RGB:
		*layout = LAYOUT_RGB;
		return true;
	case SPA_VIDEO_FORMAT_BGRx:
		*layout = LAYOUT_BGRX;
		return true;
	case SPA_VIDEO_FORMAT_I420:
		*layout = LAYOUT_I420;
		return true;
	default:
		return false;
	}
}

static void on_param_changed(void *data, uint32_t id, const struct spa_pod *param)
{
	struct camera *camera = data;
	if (param == NULL || id != SPA_PARAM_Format)
		return;
	struct spa_video_info_raw chosen = {0};
	if (spa_format_video_raw_parse(param, &chosen) < 0 || !layout_from(chosen.format, &camera->layout) ||
	    chosen.size.width != camera->width || chosen.size.height != camera->height) {
		pw_stream_set_error(camera->stream, -EINVAL, "a format that was not offered");
		return;
	}
	uint8_t room[1024];
	struct spa_pod_builder builder = SPA_POD_BUILDER_INIT(room, sizeof(room));
	const struct spa_pod *params[2];
	params[0] = spa_pod_builder_add_object(
		&builder, SPA_TYPE_OBJECT_ParamBuffers, SPA_PARAM_Buffers,
		SPA_PARAM_BUFFERS_buffers, SPA_POD_CHOICE_RANGE_Int(BUFFERS, 2, BUFFERS_MOST),
		SPA_PARAM_BUFFERS_blocks, SPA_POD_Int(1),
		SPA_PARAM_BUFFERS_size, SPA_POD_Int((int)bytes_of(camera->layout, camera->width, camera->height)),
		SPA_PARAM_BUFFERS_stride, SPA_POD_Int((int)stride_of(camera->layout, camera->width)));
	params[1] = spa_pod_builder_add_object(
		&builder, SPA_TYPE_OBJECT_ParamMeta, SPA_PARAM_Meta,
		SPA_PARAM_META_type, SPA_POD_Id(SPA_META_Header),
		SPA_PARAM_META_size, SPA_POD_Int((int)sizeof(struct spa_meta_header)));
	pw_stream_update_params(camera->stream, params, 2);
}

static void on_state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state, const char *error)
{
	struct camera *camera = data;
	(void)old;
	camera->streaming = state == PW_STREAM_STATE_STREAMING;
	if (state == PW_STREAM_STATE_PAUSED && !camera->told_ready) {
		camera->told_ready = true;
		printf("ready %" PRIu32 "\n", pw_stream_get_node_id(camera->stream));
		fflush(stdout);
	}
	if (state == PW_STREAM_STATE_ERROR)
		give_up(camera, EXIT_GONE, "PipeWire ended the camera", error);
}

static void on_core_error(void *data, uint32_t id, int sequence, int result, const char *message)
{
	struct camera *camera = data;
	(void)sequence;
	if (id == PW_ID_CORE && result == -EPIPE)
		give_up(camera, EXIT_GONE, "PipeWire is gone", message);
}

static const struct pw_core_events core_events = {PW_VERSION_CORE_EVENTS, .error = on_core_error};

static const struct pw_stream_events stream_events = {
	PW_VERSION_STREAM_EVENTS,
	.state_changed = on_state_changed,
	.param_changed = on_param_changed,
	.process = on_process,
};

static const struct spa_pod *offer(struct spa_pod_builder *builder, const struct camera *camera, uint32_t format)
{
	return spa_pod_builder_add_object(
		builder, SPA_TYPE_OBJECT_Format, SPA_PARAM_EnumFormat,
		SPA_FORMAT_mediaType, SPA_POD_Id(SPA_MEDIA_TYPE_video),
		SPA_FORMAT_mediaSubtype, SPA_POD_Id(SPA_MEDIA_SUBTYPE_raw),
		SPA_FORMAT_VIDEO_format, SPA_POD_Id(format),
		SPA_FORMAT_VIDEO_size, SPA_POD_Rectangle(&SPA_RECTANGLE(camera->width, camera->height)),
		SPA_FORMAT_VIDEO_framerate, SPA_POD_Fraction(&camera->rate));
}

static int connect_stream(struct camera *camera, const char *name)
{
	camera->stream = pw_stream_new(
		camera->core, name,
		pw_properties_new(PW_KEY_MEDIA_CLASS, "Video/Source", PW_KEY_MEDIA_ROLE, "Camera", PW_KEY_NODE_NAME,
				  name, PW_KEY_NODE_DESCRIPTION, name, NULL));
	if (camera->stream == NULL)
		return -errno;
	pw_stream_add_listener(camera->stream, &camera->stream_hook, &stream_events, camera);

	uint8_t room[2048];
	struct spa_pod_builder builder = SPA_POD_BUILDER_INIT(room, sizeof(room));
	const struct spa_pod *params[3];
	uint32_t count = 0;
	params[count++] = offer(&builder, camera, SPA_VIDEO_FORMAT_RGB);
	params[count++] = offer(&builder, camera, SPA_VIDEO_FORMAT_BGRx);
	/* consumers disagree on how wide the lines of chroma are where this has to be rounded */
	if (camera->width % 8 == 0)
		params[count++] = offer(&builder, camera, SPA_VIDEO_FORMAT_I420);
	return pw_stream_connect(camera->stream, PW_DIRECTION_OUTPUT, PW_ID_ANY,
				 PW_STREAM_FLAG_DRIVER | PW_STREAM_FLAG_MAP_BUFFERS, params, count);
}

/* ---- the program ---- */

static bool parse_number(const char *text, char end, uint32_t most, uint32_t *value, const char **rest)
{
	char *stop = NULL;
	errno = 0;
	unsigned long number = strtoul(text, &stop, 10);
	if (errno != 0 || stop == text || text[0] < '0' || text[0] > '9' || number == 0 || number > most)
		return false;
	if (*stop != '\0' && *stop != end)
		return false;
	*value = (uint32_t)number;
	*rest = stop;
	return true;
}

static bool parse_arguments(int argc, char **argv, struct camera *camera)
{
	const char *rest = NULL;
	if (argc < 4 || argc > 5)
		return false;
	if (!parse_number(argv[1], '\0', LARGEST_SIDE, &camera->width, &rest) ||
	    !parse_number(argv[2], '\0', LARGEST_SIDE, &camera->height, &rest) ||
	    !parse_number(argv[3], '/', INT32_MAX, &camera->rate.num, &rest))
		return false;
	camera->rate.denom = 1;
	if (*rest == '/' && !parse_number(rest + 1, '\0', INT32_MAX, &camera->rate.denom, &rest))
		return false;
	return camera->width % 2 == 0 && camera->height % 2 == 0;
}

static void run(struct camera *camera, const char *name)
{
	struct pw_loop *loop = pw_main_loop_get_loop(camera->loop);
	/* before the thread, which inherits the mask that keeps these signals for the loop */
	pw_loop_add_signal(loop, SIGTERM, on_signal, camera);
	pw_loop_add_signal(loop, SIGINT, on_signal, camera);
	camera->frame_event = pw_loop_add_event(loop, on_frame, camera);
	camera->end_event = pw_loop_add_event(loop, on_end, camera);
	camera->context = pw_context_new(loop, NULL, 0);
	camera->core = camera->context != NULL ? pw_context_connect(camera->context, NULL, 0) : NULL;
	if (camera->core == NULL) {
		give_up(camera, EXIT_ABSENT, "PipeWire cannot be reached", strerror(errno));
		return;
	}
	pw_core_add_listener(camera->core, &camera->core_hook, &core_events, camera);
	camera->frames = (struct frames){
		.fd = STDIN_FILENO,
		.bytes = (size_t)camera->width * camera->height * 3,
		.arrived = frame_arrived,
		.ended = input_ended,
		.data = camera,
	};
	int result = frames_start(&camera->frames);
	if (result < 0) {
		give_up(camera, EXIT_FAILURE, "cannot read frames", strerror(-result));
		return;
	}
	result = connect_stream(camera, name);
	if (result < 0)
		give_up(camera, EXIT_GONE, "PipeWire takes no camera", strerror(-result));
	else
		pw_main_loop_run(camera->loop);
	frames_stop(&camera->frames);
}

int main(int argc, char **argv)
{
	struct camera camera = {0};
	if (!parse_arguments(argc, argv, &camera)) {
		fprintf(stderr, "usage: gest_stream_camera WIDTH HEIGHT RATE [NAME] (even sides of at most %d, RATE as 30 or "
				"30000/1001)\n", LARGEST_SIDE);
		return EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	pw_init(NULL, NULL);
	camera.loop = pw_main_loop_new(NULL);
	if (camera.loop == NULL) {
		fprintf(stderr, "gest_stream_camera: no loop: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	run(&camera, argc > 4 ? argv[4] : "gest_stream");
	if (camera.stream != NULL)
		pw_stream_destroy(camera.stream);
	if (camera.core != NULL)
		pw_core_disconnect(camera.core);
	if (camera.context != NULL)
		pw_context_destroy(camera.context);
	pw_main_loop_destroy(camera.loop);
	pw_deinit();
	return camera.exit_code;
}
