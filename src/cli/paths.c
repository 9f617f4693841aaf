#include "paths.h"

#include <errno.h>
#include <unistd.h>

#include "str.h"

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

char *rb_path_absolute(const char *path, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    if (!*path) {
        rb_fail(err, RB_INVALID, "The name of a file or folder is empty.");
        return NULL;
    }
    if (*path != '/') {
        RB_CLEANUP_FREE char *here = getcwd(NULL, 0);
        if (!here) {
            rb_fail(err, RB_IO, "The current folder cannot be told: %s.", strerror(errno));
            return NULL;
        }
        rb_str_addf(&out, "%s/", here);
    }
    rb_str_add(&out, path);
    while (!rb_str_failed(&out) && out.len > 1 && out.at[out.len - 1] == '/')
        out.at[--out.len] = 0;
    char *absolute = rb_str_steal(&out);
    if (!absolute)
        no_memory(err);
    return absolute;
}

/* The state folder that nobody named. */
static enum rb_status default_state(uid_t uid, struct rb_str *out, struct rb_error *err)
{
    const char *given = getenv("RELAY_BROKER_STATE");
    const char *states = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (given && *given)
        rb_str_add(out, given);
    else if (uid == 0)
        rb_str_add(out, "/var/lib/relay-broker");
    else if (states && *states == '/')
        rb_str_addf(out, "%s/relay-broker", states);
    else if (home && *home == '/')
        rb_str_addf(out, "%s/.local/state/relay-broker", home);
    else
        return rb_fail(err, RB_INVALID,
                       "There is no home folder in the environment: name the state folder with --state.");
    return rb_str_failed(out) ? no_memory(err) : RB_OK;
}

static bool lies_in(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || !path[len]);
}

static enum rb_status fill(const char *state, const char *keys, struct rb_paths *paths, struct rb_error *err)
{
    paths->state = rb_path_absolute(state, err);
    if (!paths->state)
        return err ? err->status : RB_INVALID;
    if (strcmp(paths->state, "/") == 0)
        return rb_fail(err, RB_INVALID, "The state folder cannot be /.");
    RB_CLEANUP_STR struct rb_str sibling = RB_STR_INIT, socket = RB_STR_INIT;
    rb_str_addf(&sibling, "%s-keys", paths->state);
    rb_str_addf(&socket, "%s/admin.sock", paths->state);
    paths->admin_socket = rb_str_steal(&socket);
    if (keys)
        paths->keys = rb_path_absolute(keys, err);
    else
        paths->keys = rb_str_steal(&sibling);
    if (!paths->keys && keys)
        return err ? err->status : RB_INVALID;
    if (!paths->keys || !paths->admin_socket)
        return no_memory(err);
    if (lies_in(paths->keys, paths->state) || lies_in(paths->state, paths->keys))
        return rb_fail(
            err, RB_INVALID,
            "The key folder %s and the state folder %s must lie apart, so that a copy of one is not a copy of both.",
            paths->keys, paths->state);
    return RB_OK;
}

enum rb_status rb_paths_find(const char *state, const char *keys, uid_t uid, struct rb_paths *ret, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str chosen = RB_STR_INIT;
    struct rb_error local = {0};
    err = err ? err : &local;
    if (!state) {
        enum rb_status status = default_state(uid, &chosen, err);
        if (status != RB_OK)
            return status;
        state = chosen.at;
    }
    struct rb_paths paths = {0};
    enum rb_status status = fill(state, keys, &paths, err);
    if (status != RB_OK) {
        rb_paths_free(&paths);
        return status;
    }
    *ret = paths;
    return RB_OK;
}

void rb_paths_free(struct rb_paths *paths)
{
    free(paths->state);
    free(paths->keys);
    free(paths->admin_socket);
    *paths = (struct rb_paths){0};
}
