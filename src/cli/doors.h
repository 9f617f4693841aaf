/* Doors: the daemon's doors with the sockets behind them: bound here, or handed over by the service manager (D3). The
 * admin socket is one of them, with a server of its own (D4). */
#ifndef RB_DOORS_H
#define RB_DOORS_H

#include "config.h"
#include "face.h"
#include "options.h"

struct rb_doors;

/* Binds the default door and those of the configuration. `listen`: addresses from the command line, which replace the
 * default door's; may be empty. The configuration's doors are moved out of it. RB_BUSY names who has an address. */
enum rb_status rb_doors_open(struct rb_config *config, const struct rb_texts *listen, const char *admin_socket,
                             struct rb_doors **ret, struct rb_error *err);
/* Closes what no server took, removes the unix sockets that were made. After the servers. */
void rb_doors_free(struct rb_doors *doors);

/* The doors without the admin one, for rb_face_context; lives as long as `doors`. */
const struct rb_door *const *rb_doors_list(const struct rb_doors *doors, size_t *ret_count);

/* Hands the sockets over, each with the faces that its door shows. The context is borrowed until the servers are freed.
 * */
enum rb_status rb_doors_serve(struct rb_doors *doors, struct rb_face_context *context, struct rb_http_server *server,
                              struct rb_http_server *admin_server, struct rb_error *err);
/* One line "listening on <address>" for each socket, the default door's first; the admin socket is not among them. */
void rb_doors_describe(const struct rb_doors *doors, struct rb_str *out);

#endif
