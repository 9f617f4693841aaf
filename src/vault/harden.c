#include "harden.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum rb_status rb_harden_process(struct rb_error *err)
{
    static const struct rlimit none = {0, 0};
    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return rb_fail(err, RB_DENIED, "Core dumps cannot be turned off: %s.", strerror(errno));
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return rb_fail(err, RB_DENIED, "Tracing by others cannot be turned off: %s.", strerror(errno));
    /* libcurl's TLS library would write session keys to the file that it names. */
    if (unsetenv("SSLKEYLOGFILE") != 0)
        return rb_fail(err, RB_NO_MEMORY, "SSLKEYLOGFILE cannot be taken out of the environment: %s.", strerror(errno));
    if (sodium_init() < 0)
        return rb_fail(err, RB_IO, "The system gives no random numbers, and nothing is safe without them.");
    return RB_OK;
}
