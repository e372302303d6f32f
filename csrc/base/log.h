/* log.h: lines for whoever must find out what happened: `event key=value ...`.
 *
 * error: somebody must act. warning: we lost something and coped. info: lives begin and end. debug: one task. */
#ifndef XSE_LOG_H
#define XSE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* Where lines go. Before the first call they go to stderr, from warnings up. */
void log_to(void (*sink)(void *arg, enum log_level level, const char *line), void *arg, enum log_level least);
int log_wants(enum log_level level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *log_level_name(enum log_level level);

#define log_debug(...) (log_wants(LOG_DEBUG) ? log_line(LOG_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
