/* Reads frames of one size from a file descriptor on a thread of its own and keeps the newest. */
#ifndef GEST_STREAM_FRAMES_H
#define GEST_STREAM_FRAMES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frames {
	int fd;
	size_t bytes;
	void (*arrived)(void *data); /* called on the thread, for every whole frame */
	void (*ended)(void *data);   /* called on the thread, at the end of the input */
	void *data;

	/* one is being read, one is the newest, one is the taker's: nobody waits for anybody */
	uint8_t *filling, *newest, *taken;
	bool fresh;
	int stop_fd;
	pthread_mutex_t mutex;
	pthread_t thread;
};

/* Starts the thread; fd, bytes, arrived, ended and data are set. Returns 0, or a negative errno. */
int frames_start(struct frames *frames);

/* Whether there is a frame that was not taken yet. */
bool frames_fresh(struct frames *frames);

/* The newest frame, which stays as it is until the next call; NULL where it was taken already. */
const uint8_t *frames_take(struct frames *frames);

/* Ends the thread and frees what it had. */
void frames_stop(struct frames *frames);

#endif
