#include <obs-module.h>

#include "worker_process.h"

OBS_DECLARE_MODULE()
OBS_MODULE_USE_DEFAULT_LOCALE("gest_stream", "en-US")
OBS_MODULE_AUTHOR("The gest_stream authors")

extern const struct obs_source_info gest_async_filter;
extern const struct obs_source_info gest_effect_filter;

const char *obs_module_name(void) { return "gest_stream"; }

const char *obs_module_description(void) {
    return "Filters that find hands and show them, or what is behind them, otherwise";
}

bool obs_module_load(void) {
    obs_register_source(&gest_async_filter);
    obs_register_source(&gest_effect_filter);
    return true;
}

void obs_module_unload(void) { gest_worker_stop(); }
