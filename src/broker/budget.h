/* Budget: what a relay address still lets us send in its current minute (contract §8). The relay counts per client
 * address, so all accounts at one relay share it. Windows are fixed minutes opened by the first counted request. A 429
 * closes the window until Retry-After or its end and teaches the limit; an unlearned limit is the configured one. */
#ifndef RB_BUDGET_H
#define RB_BUDGET_H

#include "broker.h"

enum rb_budget_kind { RB_BUDGET_POST, RB_BUDGET_REFRESH, RB_BUDGET_LOGIN, RB_BUDGET_KINDS };

enum rb_status rb_budgets_new(const struct rb_ports *ports, struct rb_budgets **ret, struct rb_error *err);
void rb_budgets_free(struct rb_budgets *budgets);
/* 0: taken, send now. Otherwise the milliseconds until it is worth asking again; nothing was taken. */
int64_t rb_budget_take(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind);
/* As take, without taking. */
int64_t rb_budget_wait_ms(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind);
/* What the current minute still allows, INT64_MAX without a limit; `*ret_window` tells one minute from another. */
int64_t rb_budget_left(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind,
                       int64_t *ret_window);
/* The relay said 429; retry_after_ms -1 when it did not say how long. */
void rb_budget_refused(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind,
                       int64_t retry_after_ms);
/* What was taken was certainly not counted (never connected). */
void rb_budget_give_back(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind);

#endif
