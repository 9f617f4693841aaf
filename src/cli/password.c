#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <termios.h>
#include <unistd.h>

#include "file.h"

enum { PASSWORD_MAX_BYTES = 4096 };

/* Byte by byte: nothing after the line is taken, and no buffer of stdio keeps a copy. */
static enum rb_status read_line(int fd, struct rb_str *out, struct rb_error *err)
{
    char line[PASSWORD_MAX_BYTES + 1], c = 0;
    size_t len = 0;
    ssize_t got = 0;
    while (len < sizeof line && ((got = read(fd, &c, 1)) == 1 || (got < 0 && errno == EINTR))) {
        if (got < 0)
            continue;
        if (c == '\n')
            break;
        line[len++] = c;
    }
    enum rb_status status = RB_OK;
    if (len && line[len - 1] == '\r')
        len--;
    if (got < 0)
        status = rb_fail(err, RB_IO, "The password cannot be read: %s.", strerror(errno));
    else if (len == 0)
        status = rb_fail(err, RB_INVALID, "The password is empty.");
    else if (len > PASSWORD_MAX_BYTES || memchr(line, 0, len))
        status =
            rb_fail(err, RB_INVALID, "The password is longer than %d bytes, or has a zero byte.", PASSWORD_MAX_BYTES);
    else
        rb_str_append(out, line, len);
    sodium_memzero(line, sizeof line);
    if (rb_str_failed(out))
        status = rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    return status;
}

enum rb_status rb_password_from_stdin(struct rb_str *out, struct rb_error *err)
{
    return read_line(STDIN_FILENO, out, err);
}

enum rb_status rb_password_ask(const char *question, struct rb_str *out, struct rb_error *err)
{
    RB_CLEANUP_FD int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before, quiet;
    if (fd < 0 || tcgetattr(fd, &before) != 0)
        return rb_fail(err, RB_INVALID, "There is no terminal to ask for the password: use --password-stdin.");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ECHONL;
    if (dprintf(fd, "%s", question) < 0 || tcsetattr(fd, TCSAFLUSH, &quiet) != 0)
        return rb_fail(err, RB_IO, "The terminal cannot be used: %s.", strerror(errno));
    enum rb_status status = read_line(fd, out, err);
    tcsetattr(fd, TCSAFLUSH, &before);
    return status;
}
