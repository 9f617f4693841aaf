/* Stamp: an id of our own in the metadata of a message that we send (O2), "relay-broker-id". By it a post whose end is
 * unknown is found in its topic, and a second copy is told from another message. It is put on when a post is sent and
 * taken off before a message is handed out. A caller's own member of that name is passed through, and its post goes
 * unstamped. */
#ifndef RB_STAMP_H
#define RB_STAMP_H

#include <stdbool.h>

#include "message_rows.h"
#include "str.h"

enum { RB_STAMP_HEX = 2 * RB_STAMP_BYTES };

void rb_stamp_hex(const unsigned char stamp[RB_STAMP_BYTES], char ret[RB_STAMP_HEX + 1]);
/* Appends the metadata (a checked object, or empty) with the stamp as its last member. */
void rb_stamp_put_on(struct rb_str *out, struct rb_span metadata, const char *stamp_hex);
/* The metadata has a member of that name already. */
bool rb_stamp_names(struct rb_span metadata);
/* The metadata bears this stamp. */
bool rb_stamp_is(struct rb_span metadata, const char *stamp_hex);
/* Appends the metadata without its stamp: the relay's bytes, with the one member cut out. Nothing is appended for
 * metadata that is empty then, or was ("{}"). `*ret_found`: there was a stamp, now in `ret_stamp`. Metadata that is
 * no JSON object is appended as it is. RB_NO_MEMORY when `out` has failed. */
enum rb_status rb_stamp_take_off(struct rb_span metadata, struct rb_str *out, unsigned char ret_stamp[RB_STAMP_BYTES],
                                 bool *ret_found);

#endif
