#include "frames.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Waits for input; false when the thread is to stop. */
static bool wait_for_input(const struct frames *frames)
{
	struct pollfd wanted[2] = {{.fd = frames->fd, .events = POLLIN}, {.fd = frames->stop_fd, .events = POLLIN}};
	while (poll(wanted, 2, -1) < 0) {
		if (errno != EINTR)
			return false;
	}
	return wanted[1].revents == 0;
}

static void publish(struct frames *frames)
{
	pthread_mutex_lock(&frames->mutex);
	uint8_t *filled = frames->filling;
	frames->filling = frames->newest;
	frames->newest = filled;
	frames->fresh = true;
	pthread_mutex_unlock(&frames->mutex);
	frames->arrived(frames->data);
}

static void *read_frames(void *argument)
{
	struct frames *frames = argument;
	size_t filled = 0;
	while (wait_for_input(frames)) {
		ssize_t count = read(frames->fd, frames->filling + filled, frames->bytes - filled);
		if (count < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (count <= 0)
			break;
		filled += (size_t)count;
		if (filled == frames->bytes) {
			publish(frames);
			filled = 0;
		}
	}
	frames->ended(frames->data);
	return NULL;
}

static void release(struct frames *frames)
{
	free(frames->filling);
	free(frames->newest);
	free(frames->taken);
	if (frames->stop_fd >= 0)
		close(frames->stop_fd);
	pthread_mutex_destroy(&frames->mutex);
}

int frames_start(struct frames *frames)
{
	frames->fresh = false;
	pthread_mutex_init(&frames->mutex, NULL);
	frames->filling = malloc(frames->bytes);
	frames->newest = malloc(frames->bytes);
	frames->taken = malloc(frames->bytes);
	frames->stop_fd = eventfd(0, EFD_CLOEXEC);
	int error = 0;
	if (frames->filling == NULL || frames->newest == NULL || frames->taken == NULL)
		error = ENOMEM;
	else if (frames->stop_fd < 0)
		error = errno;
	else
		error = pthread_create(&frames->thread, NULL, read_frames, frames);
	if (error != 0)
		release(frames);
	return -error;
}

bool frames_fresh(struct frames *frames)
{
	pthread_mutex_lock(&frames->mutex);
	bool fresh = frames->fresh;
	pthread_mutex_unlock(&frames->mutex);
	return fresh;
}

const uint8_t *frames_take(struct frames *frames)
{
	const uint8_t *frame = NULL;
	pthread_mutex_lock(&frames->mutex);
	if (frames->fresh) {
		uint8_t *old = frames->taken;
		frames->taken = frames->newest;
		frames->newest = old;
		frames->fresh = false;
		frame = frames->taken;
	}
	pthread_mutex_unlock(&frames->mutex);
	return frame;
}

void frames_stop(struct frames *frames)
{
	eventfd_write(frames->stop_fd, 1);
	pthread_join(frames->thread, NULL);
	release(frames);
}
