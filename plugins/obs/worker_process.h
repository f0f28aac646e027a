/* Programs that the plugin starts: the worker, where the user asked for that, and what shows the help. */
#ifndef GEST_OBS_WORKER_PROCESS_H
#define GEST_OBS_WORKER_PROCESS_H

#include <stdbool.h>

#define GEST_WORKER_COMMAND "gest-stream worker"

/* See to it that a worker of ours runs, once for all filters: call it while none answers. Does nothing while one runs,
 * or started less than ten seconds ago. `command` is split at spaces; double quotes keep words together. */
void gest_worker_ensure(const char *command);

/* End the worker that was started, if any, and wait until it is gone. */
void gest_worker_stop(void);

/* Start a program and forget about it. False where it cannot be started. */
bool gest_start_detached(const char *const *arguments);

#endif
