/* Config, inside: how the table of keys meets libConfuse. */
#ifndef RB_CONFIG_PRIVATE_H
#define RB_CONFIG_PRIVATE_H

#include <confuse.h>

#include "config.h"

/* Takes a value that was just read. RB_INVALID: `err` says what is allowed, without file and line. */
enum rb_status rb_config_door_take(struct rb_config_door *door, const cfg_opt_t *opt, struct rb_error *err);
/* A door of that name with what applies where its section says nothing. */
enum rb_status rb_config_door_begin(struct rb_config *config, const char *name, struct rb_config_door **ret,
                                    struct rb_error *err);
/* What only the whole section can tell. */
enum rb_status rb_config_door_end(struct rb_config_door *door, bool uids_said, bool group_said, struct rb_error *err);
void rb_config_door_free(struct rb_config_door *door);

/* The option's values as an owned, NULL-terminated list; NULL without memory. */
char **rb_config_strings(const cfg_opt_t *opt);
void rb_config_strings_free(char **strings);
/* Each is an address to listen on. */
enum rb_status rb_config_check_listen(const cfg_opt_t *opt, struct rb_error *err);

#endif
