/* Harden: what the process gives up at its start so that its secrets stay its own (D9): no core dumps, not traceable by
 * others, SSLKEYLOGFILE unset, umask 077, sodium ready. */
#ifndef RB_HARDEN_H
#define RB_HARDEN_H

#include "status.h"

enum rb_status rb_harden_process(struct rb_error *err);

#endif
