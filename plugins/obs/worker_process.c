#define _GNU_SOURCE
#include "worker_process.h"

#include <obs-module.h>
#include <util/platform.h>
#include <util/threading.h>

#ifdef _WIN32

void gest_worker_ensure(const char *command) { UNUSED_PARAMETER(command); }

void gest_worker_stop(void) {}

bool gest_start_detached(const char *const *arguments) {
    UNUSED_PARAMETER(arguments);
    return false;
}

#else

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MOST_WORDS = 64 };
static const uint64_t PAUSE_NS = 10000000000ull; /* models take seconds to load: no second start meanwhile */
static const int STOP_STEPS = 40;
static const uint32_t STOP_STEP_MS = 50;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t worker; /* 0: none */
static pid_t viewer; /* what was started last to show the help, until it is reaped */
static uint64_t tried_ns;

/* Whether the child still runs; reaps it where it does not. */
static bool runs(pid_t *child) {
    if (*child == 0)
        return false;
    if (waitpid(*child, NULL, WNOHANG) == 0)
        return true;
    *child = 0;
    return false;
}

/* A child gets nothing of OBS but its environment and where OBS logs to: an inherited socket would stay open, and an
 * inherited signal mask would keep the child from being ended. */
static int start(const char *const *arguments, pid_t *child) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&files) != 0)
        return -1;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return -1;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 34)
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
#endif
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = posix_spawnp(child, arguments[0], &files, &attributes, (char *const *)(uintptr_t)arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

/* Cuts `text` into words in place; NULL behind the last. */
static void split(char *text, const char **words) {
    int count = 0;
    char *to = text;
    for (char *from = text; *from != '\0' && count < MOST_WORDS - 1;) {
        while (*from == ' ')
            from++;
        if (*from == '\0')
            break;
        words[count++] = to;
        bool quoted = false;
        for (; *from != '\0' && (quoted || *from != ' '); from++) {
            if (*from == '"')
                quoted = !quoted;
            else
                *to++ = *from;
        }
        if (*from != '\0')
            from++;
        *to++ = '\0';
    }
    words[count] = NULL;
}

void gest_worker_ensure(const char *command) {
    pthread_mutex_lock(&lock);
    uint64_t now_ns = os_gettime_ns();
    if (!runs(&worker) && (tried_ns == 0 || now_ns - tried_ns > PAUSE_NS)) {
        tried_ns = now_ns;
        const char *words[MOST_WORDS];
        size_t length = strlen(command) + 2; /* unquoting never makes it longer than its end and one more 0 */
        char *text = bzalloc(length);
        memcpy(text, command, length - 2);
        split(text, words);
        int error = words[0] == NULL ? -1 : start(words, &worker);
        if (error != 0) {
            worker = 0;
            blog(LOG_WARNING, "[gest_stream] the worker's command '%s' cannot be started: %s", command,
                 error > 0 ? strerror(error) : "it is empty");
        } else {
            blog(LOG_INFO, "[gest_stream] started '%s' (process %d)", command, (int)worker);
        }
        bfree(text);
    }
    pthread_mutex_unlock(&lock);
}

void gest_worker_stop(void) {
    pthread_mutex_lock(&lock);
    runs(&viewer);
    if (runs(&worker)) {
        kill(worker, SIGTERM);
        for (int i = 0; i < STOP_STEPS && runs(&worker); i++)
            os_sleep_ms(STOP_STEP_MS);
        if (runs(&worker)) {
            kill(worker, SIGKILL);
            waitpid(worker, NULL, 0);
            worker = 0;
        }
    }
    pthread_mutex_unlock(&lock);
}

bool gest_start_detached(const char *const *arguments) {
    pthread_mutex_lock(&lock);
    pid_t child = 0;
    runs(&viewer);
    bool started = start(arguments, &child) == 0;
    if (started && viewer == 0)
        viewer = child;
    pthread_mutex_unlock(&lock);
    return started;
}

#endif
