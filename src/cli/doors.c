#include "doors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "address.h"
#include "service.h"

enum { FACES_MAX = 6, ADMIN_MODE = 0600 };

/* A socket of a door. */
struct opening {
    struct rb_config_door *door;
    struct rb_address address;
    char *path; /* of a unix socket: owned, NULL otherwise */
    bool made;  /* the unix socket's file was made here */
    int fd;     /* -1: handed over to a server */
    int port;
    const char *hosts[3];
    const struct rb_face *faces[FACES_MAX];
    size_t face_count;
};

struct rb_doors {
    struct rb_config_door *all; /* [0]: default, where it is open; last: admin */
    const struct rb_door **list;
    size_t count; /* without admin */
    struct opening *openings;
    size_t opening_count;
    struct rb_face wire, broker, admin, metrics[3];
};

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory to start.");
}

/* --- which doors there are --- */

static struct rb_config_door *door_named(const struct rb_doors *doors, const char *name)
{
    for (size_t i = 0; i < doors->count; i++)
        if (strcmp(doors->all[i].door.name, name) == 0)
            return &doors->all[i];
    return NULL;
}

static enum rb_status take_doors(struct rb_doors *doors, struct rb_config *config, struct rb_error *err)
{
    doors->all = calloc(config->door_count + 2, sizeof *doors->all);
    doors->list = calloc(config->door_count + 2, sizeof *doors->list);
    if (!doors->all || !doors->list)
        return no_memory(err);
    size_t configured = config->door_count;
    if (configured)
        memcpy(doors->all, config->doors, configured * sizeof *doors->all);
    config->door_count = 0;
    doors->count = configured;
    if (!door_named(doors, "default")) {
        struct rb_config_door *fresh = &doors->all[doors->count];
        fresh->socket_mode = 0666;
        if (rb_door_init_default(&fresh->door) != RB_OK)
            return no_memory(err);
        doors->count++;
    }
    struct rb_config_door *first = &doors->all[0], *standard = door_named(doors, "default"), swap = *first;
    *first = *standard;
    *standard = swap;
    struct rb_config_door *admin = &doors->all[doors->count];
    admin->door = (struct rb_door){
        .name = strdup("admin"), .group = (gid_t)-1, .wire = true, .broker = true, .topic_changes = true};
    return admin->door.name ? RB_OK : no_memory(err);
}

/* --- sockets --- */

static enum rb_status add_opening(struct rb_doors *doors, struct rb_config_door *door, const struct rb_address *address,
                                  int fd, int port, bool made, struct rb_error *err)
{
    struct opening *longer = reallocarray(doors->openings, doors->opening_count + 1, sizeof *longer);
    char *path = address->path ? strdup(address->path) : NULL;
    if (longer)
        doors->openings = longer;
    if (!longer || (address->path && !path)) {
        free(path);
        close(fd);
        return no_memory(err);
    }
    struct opening *opening = &doors->openings[doors->opening_count++];
    *opening = (struct opening){.door = door, .address = *address, .path = path, .made = made, .fd = fd, .port = port};
    opening->address.path = path;
    return RB_OK;
}

static enum rb_status open_address(struct rb_doors *doors, struct rb_config_door *door, const char *text,
                                   struct rb_error *err)
{
    struct rb_address address;
    struct rb_error why = {0};
    int fd, port = 0;
    enum rb_status status = rb_address_read(text, &address, &why);
    if (status == RB_OK)
        status = address.path ? rb_http_bind_unix(address.path, door->socket_mode, &fd, &why)
                              : rb_http_bind(address.host, address.port, &fd, &port, &why);
    if (status != RB_OK)
        return rb_fail(err, status, "The door %s cannot open: %s.", door->door.name, why.text);
    return add_opening(doors, door, &address, fd, port, address.path != NULL, err);
}

static bool is_listening_stream(int fd)
{
    int type = 0, listening = 0;
    socklen_t type_len = sizeof type, listening_len = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) == 0 && listening;
}

/* The address of a socket that the service manager has bound. */
static enum rb_status handed_address(int fd, struct rb_address *ret, char path[sizeof(struct sockaddr_un)],
                                     int *ret_port, struct rb_error *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } at = {0};
    socklen_t len = sizeof at - 1;
    if (!is_listening_stream(fd) || getsockname(fd, &at.any, &len) != 0)
        return rb_fail(err, RB_INVALID,
                       "The service manager handed over something that is no listening stream socket.");
    char text[80];
    if (at.any.sa_family == AF_UNIX) {
        snprintf(path, sizeof at.un, "%s", at.un.sun_path);
        *ret = (struct rb_address){.path = path};
        return RB_OK;
    }
    if (at.any.sa_family == AF_INET6) {
        char host[INET6_ADDRSTRLEN] = "";
        inet_ntop(AF_INET6, &at.in6.sin6_addr, host, sizeof host);
        *ret_port = ntohs(at.in6.sin6_port);
        snprintf(text, sizeof text, "[%s]:%d", host, *ret_port);
    } else {
        char host[INET_ADDRSTRLEN] = "";
        inet_ntop(AF_INET, &at.in.sin_addr, host, sizeof host);
        *ret_port = ntohs(at.in.sin_port);
        snprintf(text, sizeof text, "%s:%d", host, *ret_port);
    }
    struct rb_error why = {0};
    if (rb_address_read(text, ret, &why) != RB_OK)
        return rb_fail(err, RB_DENIED, "The service manager handed over a socket that cannot be used: %s.", why.text);
    return RB_OK;
}

static enum rb_status take_handed(struct rb_doors *doors, int fd, const char *name, struct rb_error *err)
{
    struct rb_config_door *door = name && strcmp(name, "admin") == 0 ? &doors->all[doors->count] : NULL;
    if (!door && name)
        door = door_named(doors, name);
    if (!door)
        door = &doors->all[0];
    struct rb_address address = {0};
    char path[sizeof(struct sockaddr_un)];
    int port = 0;
    enum rb_status status = handed_address(fd, &address, path, &port, err);
    if (status == RB_OK && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
        status = rb_fail(err, RB_IO, "A socket of the service manager cannot be used: %s.", strerror(errno));
    if (status != RB_OK) {
        close(fd);
        return status;
    }
    return add_opening(doors, door, &address, fd, port, false, err);
}

/* The name of each is its door's (FileDescriptorName=); any other name means the default door. */
static enum rb_status take_all_handed(struct rb_doors *doors, struct rb_error *err)
{
    struct rb_service_socket *sockets;
    size_t count;
    enum rb_status status = rb_service_sockets(&sockets, &count);
    if (status == RB_NO_MEMORY)
        return no_memory(err);
    if (status != RB_OK)
        return rb_fail(err, status, "The service manager names sockets that it did not hand over.");
    for (size_t i = 0; i < count && status == RB_OK; i++)
        status = take_handed(doors, sockets[i].fd, sockets[i].name, err);
    rb_service_sockets_free(sockets, count);
    return status;
}

static bool is_open(const struct rb_doors *doors, const struct rb_config_door *door)
{
    for (size_t i = 0; i < doors->opening_count; i++)
        if (doors->openings[i].door == door)
            return true;
    return false;
}

static enum rb_status open_all(struct rb_doors *doors, struct rb_config_door *door, const char *const *addresses,
                               bool may_be_missing, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t i = 0; addresses && addresses[i] && status == RB_OK; i++) {
        status = open_address(doors, door, addresses[i], err);
        if (status == RB_NOT_FOUND && may_be_missing && i > 0)
            status = RB_OK;
    }
    return status;
}

static enum rb_status open_sockets(struct rb_doors *doors, const struct rb_config *config,
                                   const struct rb_texts *listen, const char *admin_socket, struct rb_error *err)
{
    enum rb_status status = take_all_handed(doors, err);
    for (size_t i = 0; i < doors->count && status == RB_OK; i++) {
        struct rb_config_door *door = &doors->all[i];
        const char *given[RB_TEXTS_MAX + 1] = {0};
        memcpy(given, listen->at, listen->count * sizeof *given);
        if (i == 0 && listen->count)
            status = open_all(doors, door, given, false, err);
        else if (is_open(doors, door))
            continue;
        else if (i == 0 && !config->listen)
            status = open_all(doors, door, rb_config_default_listen, true, err);
        else
            status = open_all(doors, door, (const char *const *)(i == 0 ? config->listen : door->listen), false, err);
    }
    struct rb_config_door *admin = &doors->all[doors->count];
    if (status != RB_OK || is_open(doors, admin))
        return status;
    struct rb_address address = {.path = admin_socket};
    int fd;
    struct rb_error why = {0};
    status = rb_http_bind_unix(admin_socket, ADMIN_MODE, &fd, &why);
    if (status != RB_OK)
        return rb_fail(err, status, "The admin socket cannot open: %s.", why.text);
    return add_opening(doors, admin, &address, fd, 0, true, err);
}

/* Tells a door where it opens, for status. */
static enum rb_status name_openings(struct rb_doors *doors, struct rb_config_door *door, struct rb_error *err)
{
    char **listen = calloc(doors->opening_count + 1, sizeof *listen);
    if (!listen)
        return no_memory(err);
    door->door.listen = listen;
    for (size_t i = 0; i < doors->opening_count; i++) {
        const struct opening *opening = &doors->openings[i];
        if (opening->door != door)
            continue;
        struct rb_str text = RB_STR_INIT;
        rb_address_print(&opening->address, opening->port, &text);
        if (!(*listen = rb_str_steal(&text)))
            return no_memory(err);
        listen++;
    }
    return RB_OK;
}

enum rb_status rb_doors_open(struct rb_config *config, const struct rb_texts *listen, const char *admin_socket,
                             struct rb_doors **ret, struct rb_error *err)
{
    struct rb_doors *doors = calloc(1, sizeof *doors);
    if (!doors)
        return no_memory(err);
    enum rb_status status = take_doors(doors, config, err);
    if (status == RB_OK)
        status = open_sockets(doors, config, listen, admin_socket, err);
    for (size_t i = 0; i < doors->count && status == RB_OK; i++)
        status = name_openings(doors, &doors->all[i], err);
    if (status != RB_OK) {
        rb_doors_free(doors);
        return status;
    }
    for (size_t i = 0; i < doors->count; i++)
        doors->list[i] = &doors->all[i].door;
    *ret = doors;
    return RB_OK;
}

void rb_doors_free(struct rb_doors *doors)
{
    if (!doors)
        return;
    for (size_t i = 0; i < doors->opening_count; i++) {
        struct opening *opening = &doors->openings[i];
        if (opening->fd >= 0)
            close(opening->fd);
        if (opening->made)
            unlink(opening->path);
        free(opening->path);
    }
    for (size_t i = 0; doors->all && i <= doors->count; i++) {
        rb_door_free(&doors->all[i].door);
        for (char **at = doors->all[i].listen; at && *at; at++)
            free(*at);
        free(doors->all[i].listen);
    }
    free(doors->openings);
    free(doors->all);
    free(doors->list);
    free(doors);
}

const struct rb_door *const *rb_doors_list(const struct rb_doors *doors, size_t *ret_count)
{
    *ret_count = doors->count;
    return doors->list;
}

/* --- serving --- */

static void make_faces(struct rb_doors *doors, struct rb_face_context *context)
{
    static const char *const metrics_paths[] = {"/health", "/ready", "/metrics"};
    rb_wire_face(context, &doors->wire);
    rb_broker_face(context, &doors->broker);
    rb_admin_face(context, &doors->admin);
    for (size_t i = 0; i < sizeof metrics_paths / sizeof metrics_paths[0]; i++) {
        rb_metrics_face(context, &doors->metrics[i]);
        doors->metrics[i].prefix = metrics_paths[i];
    }
}

/* A face is chosen by prefix, so the wire face, which takes every path, comes last. */
static void choose_faces(struct rb_doors *doors, struct opening *opening)
{
    const struct rb_door *door = &opening->door->door;
    const struct rb_face **face = opening->faces;
    if (opening->door == &doors->all[doors->count])
        *face++ = &doors->admin;
    if (door->broker)
        *face++ = &doors->broker;
    for (size_t i = 0; i < sizeof doors->metrics / sizeof doors->metrics[0]; i++)
        *face++ = &doors->metrics[i];
    if (door->wire)
        *face++ = &doors->wire;
    opening->face_count = (size_t)(face - opening->faces);
}

enum rb_status rb_doors_serve(struct rb_doors *doors, struct rb_face_context *context, struct rb_http_server *server,
                              struct rb_http_server *admin_server, struct rb_error *err)
{
    make_faces(doors, context);
    for (size_t i = 0; i < doors->opening_count; i++) {
        struct opening *opening = &doors->openings[i];
        bool admin = opening->door == &doors->all[doors->count];
        choose_faces(doors, opening);
        opening->door->door.clock = context->clock;
        opening->hosts[0] = opening->address.host;
        opening->hosts[1] = "localhost";
        const struct rb_http_listener listener = {
            .fd = opening->fd,
            .faces = opening->faces,
            .face_count = opening->face_count,
            .door = &opening->door->door,
            .hosts = opening->path ? NULL : opening->hosts,
            .admits = rb_door_admits,
            .browser_guard = true,
        };
        enum rb_status status = rb_http_server_listen(admin ? admin_server : server, &listener, err);
        if (status != RB_OK)
            return status;
        opening->fd = -1;
    }
    return RB_OK;
}

void rb_doors_describe(const struct rb_doors *doors, struct rb_str *out)
{
    for (size_t d = 0; d < doors->count; d++)
        for (size_t i = 0; i < doors->opening_count; i++) {
            const struct opening *opening = &doors->openings[i];
            if (opening->door != &doors->all[d])
                continue;
            rb_str_add(out, "listening on ");
            rb_address_print(&opening->address, opening->port, out);
            rb_str_add(out, "\n");
        }
}
