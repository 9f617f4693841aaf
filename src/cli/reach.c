#include "reach.h"

#include <unistd.h>

#include "paths.h"

enum rb_status rb_reach_admin(const struct rb_reach *reach, struct rb_client **ret, struct rb_error *err)
{
    struct rb_paths paths;
    enum rb_status status = rb_paths_find(reach->state, reach->keys, geteuid(), &paths, err);
    if (status != RB_OK)
        return status;
    status = rb_client_of_socket(paths.admin_socket, ret, err);
    rb_paths_free(&paths);
    return status;
}

enum rb_status rb_reach_any(const struct rb_reach *reach, struct rb_client **ret, struct rb_error *err)
{
    if (reach->url)
        return rb_client_of_url(reach->url, ret, err);
    struct rb_paths paths;
    enum rb_status status = rb_paths_find(reach->state, reach->keys, geteuid(), &paths, err);
    if (status != RB_OK)
        return status;
    /* A state folder that was named is meant: the default door may belong to another daemon. */
    if (reach->state || rb_client_socket_open(paths.admin_socket))
        status = rb_client_of_socket(paths.admin_socket, ret, err);
    else
        status = rb_client_of_url(RB_DEFAULT_URL, ret, err);
    rb_paths_free(&paths);
    return status;
}
