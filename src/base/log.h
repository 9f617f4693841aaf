/* Log: one line a fact on standard error, for the journal. The process's only global.
 *
 * Each line is "<level> <room>: text". Control characters (C0, C1), bidi controls and line ends in the text are escaped
 * (hard case D8), so that what a relay or caller says cannot forge a line or drive a terminal. Never a secret. */
#ifndef RB_LOG_H
#define RB_LOG_H

enum rb_log_level { RB_LOG_OFF = -1, RB_LOG_ERROR, RB_LOG_WARNING, RB_LOG_INFO, RB_LOG_DEBUG };

/* Lines above `level` are dropped. The default is RB_LOG_INFO. */
void rb_log_set_level(enum rb_log_level level);
void rb_log(enum rb_log_level level, const char *room, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
