/* Service: what a service manager (systemd's protocol) hands over at the start and wants to be told. Done here, by the
 * environment variables that the protocol names, since its library brings six others and a megabyte with it. */
#ifndef RB_SERVICE_H
#define RB_SERVICE_H

#include "status.h"

/* Tells a line like "READY=1". Without a service manager that listens nothing happens. */
void rb_service_tell(const char *line);

struct rb_service_socket {
    int fd;
    char *name; /* of FileDescriptorName=; NULL where none is said */
};
/* The sockets that were handed over, closed on exec from now on; an empty list where there are none. To be called once:
 * the variables are taken out of the environment. */
enum rb_status rb_service_sockets(struct rb_service_socket **ret, size_t *ret_count);
/* Frees the list; the sockets stay open. */
void rb_service_sockets_free(struct rb_service_socket *sockets, size_t count);

#endif
