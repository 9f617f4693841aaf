/* What the tests of account and chain begin with: a simulated host with one account, logged in. */
#ifndef RB_ACCOUNT_HOST_H
#define RB_ACCOUNT_HOST_H

#include <check.h>

#include "world.h"

extern struct world *world;

/* A fresh world, booted; `access_token_s` as the relay gives them. */
void host_start(int64_t access_token_s);
/* As host_start, with another broker configuration. */
void host_start_with(int64_t access_token_s, const struct rb_broker_config *config);
/* Frees it; fails the test when a promise was broken. */
void host_end(void);
/* kill -9 and a new start. */
void host_restart(void);

/* The account "main" of the user "user". */
struct rb_account *host_account(void);
/* Logs it in. */
struct rb_account *host_login(bool keep_password);
/* A refresh token and a login at the relay that the broker knows nothing of. `ret` to be freed. */
char *host_foreign_token(const char *username);
/* The refresh, sent straight to the relay; the status. `*ret_next` (may be NULL) to be freed. */
int host_foreign_refresh(const char *token, char **ret_next);

/* Asks for an access token and says how that went. */
enum rb_status host_access(void);
/* Runs until an access token is there; false after max_ms. */
bool host_get_access(int64_t max_ms);
/* Makes the access token unusable, so that the next host_access needs a refresh. */
void host_drop_access(void);
/* Runs until the chain in use is in that state. */
bool host_chain_becomes(const char *state, int64_t max_ms);
const char *host_chain(void);
struct rb_model_counts host_counts(void);
size_t host_live_tokens(const char *username);
/* How many events of a kind are stored. */
int host_events(const char *kind);

#endif
