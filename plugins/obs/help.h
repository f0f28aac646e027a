/* The help page that comes with the plugin. */
#ifndef GEST_OBS_HELP_H
#define GEST_OBS_HELP_H

/* Show it in the user's browser; where that cannot be done, its path goes to OBS's log. */
void gest_help_open(void);

#endif
