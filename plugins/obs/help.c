#include "help.h"

#include <obs-module.h>

#include "worker_process.h"

#ifdef __APPLE__
#define OPENER "open"
#else
#define OPENER "xdg-open"
#endif

void gest_help_open(void) {
    char *page = obs_module_file("help.html");
    const char *arguments[] = {OPENER, page, NULL};
    if (page == NULL)
        blog(LOG_WARNING, "[gest_stream] help.html is missing: the plugin's data folder was not installed");
    else if (!gest_start_detached(arguments))
        blog(LOG_WARNING, "[gest_stream] '" OPENER "' cannot be started; the help is in %s", page);
    bfree(page);
}
