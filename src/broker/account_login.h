/* Between account_admin.c (what a person asks for), account_login.c (a login with a password) and account_change.c
 * (what both write). */
#ifndef RB_ACCOUNT_LOGIN_H
#define RB_ACCOUNT_LOGIN_H

#include "account_private.h"

/* Another login of that name or identity has not ended. */
bool account_login_is_under_way(const struct rb_accounts *accounts, const char *name, const char *relay_url,
                                const char *username);
/* The checks have been made; `account` is NULL for a new one. */
enum rb_status account_login_password(struct rb_accounts *accounts, struct rb_account *account, const char *relay_url,
                                      const struct rb_login *login, rb_account_done done, void *arg,
                                      struct rb_error *err);
/* In memory; NULL: none. False: out of memory, and it stays as it was. */
bool account_take_ca_file(struct rb_account *account, const char *ca_file);
/* An account in memory, without a row. NULL: out of memory. */
struct rb_account *account_prepare(struct rb_accounts *accounts, const char *name, const char *relay_url,
                                   const char *username, const char *ca_file);
/* In this tick: gives it its row; a retired one is there for its chains to be revoked. */
void account_add(struct rb_account *account, bool retired);
/* In this tick: another account takes its name. */
void account_retire(struct rb_account *account);

#endif
