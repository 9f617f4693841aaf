/* Model of one account whose chains rotate, and of everything that can go wrong meanwhile (R1–R6).
 *
 *     chain(c)    what the broker does with one chain: src/broker/chain.c, account_pump.c, chain_revoke.c
 *     account()   login, recovery with the stored password, logout: account_login.c, account_admin.c, account_change.c
 *     host()      dies at any step and is judged at its start: account_load.c; a copy of its disk is put back
 *     relay(c)    one family of tokens there, and the network on the way to it
 *     clock()     time, as far as R1 needs it, and the end of access tokens
 *
 * The broker is one thread: each of its steps is atomic, and a crash falls between two writes. Rows are what the database
 * holds. Nothing here goes on for ever: rotations, crashes, faults and what people do are counted down, so every run ends
 * where nothing is left to do, and `finally` looks at that end. That is how "retried until confirmed" is proved.
 *
 * A model program takes its bounds and its planted bug from the environment: see `check`. */

#define CHAINS 3
#define QUIET 2 /* ticks until a token may be sent again (R1) */
#define LATE 1  /* ticks for which a request can outlive its connection */

/* States, by the names that code and database use: chain.h, then account.h. `check` compares them. */
mtype = { chain_active, chain_rotating, chain_uncertain, chain_dead, chain_revoking, chain_revoked, chain_held };
mtype = { account_active, account_login_required, account_logged_out };
/* The way of a request. `half`: the relay has used up the token, the next one is not born yet (R6). */
mtype = { none, idle, going, half, granted, refused, untouched, gone, kept };
/* Planted bugs. */
#define RETRY_AT_ONCE 1
#define QUIET_TOO_SHORT 2
#define SEND_BEFORE_COMMIT 3
#define COUNTER_AFTER_SEND 4
#define REVOKE_ONCE 5
#define REVOKE_UNCONFIRMED 6
#define BOTH_AT_RISK 7
#define NO_SLOT 8
#define UNKNOWN_IS_DEAD 9
#define OLD_EPOCH 10
#define NO_COUNTER 11
#define LOGOUT_WITHOUT_MARK 12

c_decl {
\#include <stdlib.h>
    static unsigned char setting(const char *name)
    {
        const char *text = getenv(name);
        return text ? (unsigned char)atoi(text) : 0;
    }
}


byte rotations, crashes, faults, logouts, logins, copies, expiries;
bool import; /* the first chain is an imported one */
byte plant;

/* Rows. */
mtype account = account_active;
bool password;
byte epoch;
byte rows; /* chains that ever had one */
mtype state[CHAINS] = none;
byte generation[CHAINS], mark[CHAINS], epoch_of[CHAINS];
bool doubt[CHAINS];
/* Files of the key folder: the counter (0: no entry) and the slot. */
byte counter[CHAINS], slot[CHAINS];

/* The broker's memory. */
bool up = true;
bool access;             /* an access token with more than a minute left */
bool in_flight[CHAINS];     /* its refresh has not ended, as far as the broker knows */
mtype heard[CHAINS] = none; /* how it ended, not taken yet */
mtype fact[CHAINS] = none;  /* taken, not committed yet */
byte quiet[CHAINS];
mtype revocation[CHAINS] = idle;
bool revocation_sure[CHAINS], when_sure[CHAINS];
mtype login = idle;
byte login_epoch;
bool recovery;

/* Relay and network. */
byte live[CHAINS]; /* generation of the live token + 1; 0: none */
mtype request[CHAINS] = idle;
bool connected[CHAINS]; /* somebody waits for its answer */
byte request_generation[CHAINS], late[CHAINS];

/* A copy of the rows. */
bool copied;
mtype copy_account, copy_state[CHAINS];
bool copy_password, copy_doubt[CHAINS];
byte copy_epoch, copy_generation[CHAINS], copy_mark[CHAINS], copy_epoch_of[CHAINS];

/* What only the properties know. */
bool lost[CHAINS];  /* the relay rotated it, and the answer never reached the broker */
bool ended[CHAINS]; /* its logout is in the counter file */
bool overtaken; /* a logout came after that login had begun */
bool restored;

#define living(i) (state[i] == chain_active || state[i] == chain_rotating || state[i] == chain_uncertain || state[i] == chain_held)
#define at_risk(i) (state[i] == chain_rotating || state[i] == chain_uncertain)
#define other_at_risk(i) (at_risk((i + 1) % CHAINS) || at_risk((i + 2) % CHAINS))
#define nobody_lives (!living(0) && !living(1) && !living(2))
#define sure(i) (!in_flight[i] && quiet[i] == 0)
/* P2: what may leave an account without a login. */
#define rightly_gone(i) (state[i] == none || epoch_of[i] != epoch || (state[i] == chain_dead && lost[i]) || restored)

/* --- shared steps; `i` is the caller's --- */

inline settle()
{
    if
    :: account == account_active && !password && nobody_lives ->
        /* P2 */
        assert(rightly_gone(0) && rightly_gone(1) && rightly_gone(2));
        account = account_login_required;
        access = false
    :: else
    fi
}

/* chain.c: rotation_apply */
inline apply(n)
{
    if
    :: fact[n] != none && state[n] == chain_rotating ->
        if
        :: fact[n] == granted ->
            generation[n]++;
            mark[n]++;
            doubt[n] = false;
            state[n] = chain_active
        :: fact[n] == untouched && !doubt[n] -> state[n] = chain_active
        :: fact[n] == untouched && doubt[n] -> state[n] = chain_uncertain
        :: fact[n] == gone && plant != UNKNOWN_IS_DEAD ->
            doubt[n] = true;
            state[n] = chain_uncertain
        :: fact[n] == refused || (fact[n] == gone && plant == UNKNOWN_IS_DEAD) ->
            /* P2: one lost answer costs one chain, and nothing else costs any. */
            assert(lost[n] || restored);
            state[n] = chain_dead;
            settle()
        fi
    :: else
    fi;
    fact[n] = none
}

inline apply_all()
{
    i = 0;
    do
    :: i < CHAINS -> apply(i); i++
    :: else -> break
    od
}

/* account_change.c: account_end_login, without the account's new state */
inline end_login()
{
    epoch++;
    i = 0;
    do
    :: i < CHAINS ->
        if
        :: living(i) ->
            state[i] = chain_revoking;
            mark[i] = mark[i] + (plant == LOGOUT_WITHOUT_MARK -> 0 : 2);
            when_sure[i] = false
        :: else
        fi;
        i++
    :: else -> break
    od;
    password = false;
    access = false
}

inline answer_is_lost(n, what)
{
    lost[n] = lost[n] || what == granted
}

inline crash()
{
    up = false;
    i = 0;
    do
    :: i < CHAINS ->
        if
        :: connected[i] && request[i] != idle -> late[i] = LATE
        :: else
        fi;
        answer_is_lost(i, heard[i]);
        in_flight[i] = false;
        connected[i] = false;
        heard[i] = none;
        fact[i] = none;
        quiet[i] = 0;
        revocation[i] = idle;
        revocation_sure[i] = false;
        when_sure[i] = false;
        i++
    :: else -> break
    od;
    login = idle;
    login_epoch = 0;
    recovery = false;
    overtaken = false
}

/* The host may die here: the rest of the step does not happen then. */
inline may_die()
{
    if
    :: crashes > 0 -> crashes--; crash(); goto again
    :: true
    fi
}

/* --- the broker: one chain --- */

inline write_intent()
{
    state[c] = chain_rotating;
    mark[c]++
}

inline write_counter()
{
    counter[c] = mark[c]
}

inline send()
{
    /* P1: no token is sent while an earlier request with it may still arrive. */
    assert(request[c] == idle);
    /* P5: from the commit of the logout on nothing uses that login. */
    assert(account == account_active && epoch_of[c] == epoch && !ended[c]);
    /* R3: what the relay no longer takes is sent only where its answer was lost. */
    assert(live[c] == generation[c] + 1 || lost[c]);
    request[c] = going;
    request_generation[c] = generation[c];
    connected[c] = true;
    in_flight[c] = true
}

proctype chain(byte c)
{
    byte i;
    bool next;
again:
end:
    do
    /* account_pump.c: choose, may_risk; chain.c: chain_rotate, begin */
    :: atomic {
        up && account == account_active && !in_flight[c] && fact[c] == none &&
        ((state[c] == chain_active && rotations > 0) || (state[c] == chain_uncertain && quiet[c] == 0)) &&
        (!access || !other_at_risk(c) || plant == BOTH_AT_RISK) ->
        rotations = rotations - (state[c] == chain_active);
        /* R5 */
        assert(!access || !other_at_risk(c));
        if
        :: plant == SEND_BEFORE_COMMIT -> send(); may_die(); write_intent(); write_counter()
        :: plant == COUNTER_AFTER_SEND -> write_intent(); send(); may_die(); write_counter()
        :: else -> write_intent(); may_die(); write_counter(); may_die(); send()
        fi;
        i = 0
    }
    /* chain.c: refreshed, take_tokens */
    :: atomic {
        up && heard[c] != none ->
        in_flight[c] = false;
        when_sure[c] = true;
        fact[c] = heard[c];
        heard[c] = none;
        if
        :: fact[c] == granted && plant != NO_SLOT -> slot[c] = generation[c] + 1
        :: fact[c] == gone && plant != RETRY_AT_ONCE -> quiet[c] = QUIET - (plant == QUIET_TOO_SHORT)
        :: else
        fi
    }
    /* The commit, late where the disk is full. chain.c: publish */
    :: atomic {
        up && fact[c] != none ->
        next = fact[c] == granted && state[c] == chain_rotating;
        apply(c);
        if
        :: next ->
            next = false;
            may_die();
            assert(account == account_active);
            access = true;
            write_counter()
        :: else
        fi;
        i = 0
    }
    /* account_pump.c: release_held; account_admin.c: release */
    :: atomic {
        up && account == account_active && state[c] == chain_held ->
        state[c] = chain_active
    }
    /* chain_revoke.c: revoke */
    :: atomic {
        up && state[c] == chain_revoking && revocation[c] == idle && (!when_sure[c] || sure(c)) ->
        if
        :: counter[c] != 0 && counter[c] < mark[c] -> write_counter(); ended[c] = true
        :: else
        fi;
        revocation[c] = going;
        revocation_sure[c] = sure(c) || plant == REVOKE_ONCE
    }
    /* chain_revoke.c: revoke_answered, confirm */
    :: atomic {
        up && (revocation[c] == granted || revocation[c] == gone) ->
        if
        :: (revocation[c] == granted && revocation_sure[c]) || (revocation[c] == gone && plant == REVOKE_UNCONFIRMED) ->
            /* R6: what is confirmed is dead at the relay, and nothing can bring it to life again. */
            assert(live[c] == 0 && request[c] == idle);
            state[c] = chain_revoked;
            slot[c] = 0
        :: revocation[c] == granted && !revocation_sure[c] -> when_sure[c] = true
        :: else -> when_sure[c] = false
        fi;
        revocation[c] = idle;
        revocation_sure[c] = false
    }
    od
}

/* --- the broker: the account --- */

proctype of_account()
{
    byte i;
end:
    do
    :: atomic {
        up && logouts > 0 ->
        logouts--;
        apply_all();
        end_login();
        account = account_logged_out;
        overtaken = login != idle;
        i = 0
    }
    /* account_login.c: account_recover */
    :: atomic {
        up && account == account_active && password && nobody_lives && login == idle && rows < CHAINS ->
        login = going;
        login_epoch = epoch;
        recovery = true
    }
    /* A person logs in, at any time. */
    :: atomic {
        up && logins > 0 && login == idle && rows < CHAINS ->
        logins--;
        login = going;
        login_epoch = epoch;
        recovery = false
    }
    /* account_login.c: prepare */
    :: atomic {
        up && login == granted ->
        counter[rows] = 1;
        login = kept
    }
    :: atomic {
        up && login == gone ->
        login = idle;
        login_epoch = 0;
        recovery = false;
        overtaken = false
    }
    /* account_login.c: apply_tokens */
    :: atomic {
        up && login == kept ->
        apply_all();
        if
        :: login_epoch != epoch && plant != OLD_EPOCH ->
            state[rows] = chain_revoking
        :: else ->
            if
            :: !recovery ->
                end_login();
                account = account_active;
                if
                :: password = true
                :: true
                fi
            :: else
            fi;
            /* P5, R6 */
            assert(account == account_active && !overtaken);
            state[rows] = chain_active;
            access = true
        fi;
        epoch_of[rows] = epoch;
        mark[rows] = 1;
        live[rows] = 1;
        rows++;
        login = idle;
        login_epoch = 0;
        recovery = false;
        overtaken = false;
        i = 0
    }
    od
}

/* --- the host --- */

/* account_load.c: adopt_slot, judge_chain, and the waits of rb_accounts_start */
inline judge(n)
{
    if
    :: living(n) ->
        if
        :: slot[n] > generation[n] ->
            generation[n] = slot[n];
            mark[n]++;
            doubt[n] = false;
            state[n] = chain_active
        :: else
        fi;
        if
        :: mark[n] < counter[n] && plant != NO_COUNTER ->
            state[n] = chain_revoking;
            mark[n] = mark[n] + 2
        :: else ->
            doubt[n] = doubt[n] || (state[n] == chain_rotating && mark[n] <= counter[n]);
            if
            :: state[n] == chain_rotating && doubt[n] -> state[n] = chain_uncertain
            :: state[n] == chain_rotating && !doubt[n] -> state[n] = chain_active
            :: else
            fi;
            counter[n] = (counter[n] < mark[n] -> mark[n] : counter[n])
        fi
    :: else
    fi;
    if
    :: state[n] == none || state[n] == chain_dead || state[n] == chain_revoked || plant == RETRY_AT_ONCE ||
       (!doubt[n] && (state[n] == chain_active || state[n] == chain_held))
    :: else -> quiet[n] = QUIET - (plant == QUIET_TOO_SHORT)
    fi
}

proctype host()
{
    byte i;
end:
    do
    :: atomic {
        up && crashes > 0 ->
        crashes--;
        crash();
        i = 0
    }
    :: atomic {
        !up ->
        i = 0;
        do
        :: i < CHAINS -> judge(i); i++
        :: else -> break
        od;
        settle();
        up = true;
        i = 0
    }
    :: atomic {
        copies > 0 && !copied ->
        copies--;
        copied = true;
        copy_account = account;
        copy_password = password;
        copy_epoch = epoch;
        i = 0;
        do
        :: i < CHAINS ->
            copy_state[i] = state[i];
            copy_generation[i] = generation[i];
            copy_mark[i] = mark[i];
            copy_epoch_of[i] = epoch_of[i];
            copy_doubt[i] = doubt[i];
            i++
        :: else -> break
        od;
        i = 0
    }
    :: atomic {
        !up && copied ->
        copied = false;
        restored = true;
        account = copy_account;
        password = copy_password;
        epoch = copy_epoch;
        i = 0;
        do
        :: i < CHAINS ->
            state[i] = copy_state[i];
            generation[i] = copy_generation[i];
            mark[i] = copy_mark[i];
            epoch_of[i] = copy_epoch_of[i];
            doubt[i] = copy_doubt[i];
            i++
        :: else -> break
        od;
        i = 0
    }
    od
}

/* --- the relay, and the network on the way --- */

inline answer(what)
{
    request[c] = idle;
    request_generation[c] = 0;
    if
    :: connected[c] -> heard[c] = what
    :: connected[c] && faults > 0 -> faults--; heard[c] = gone; answer_is_lost(c, what)
    :: !connected[c] -> answer_is_lost(c, what)
    fi;
    connected[c] = false;
    late[c] = 0
}

proctype relay(byte c)
{
end:
    do
    :: atomic {
        request[c] == going && live[c] == request_generation[c] + 1 ->
        live[c] = 0;
        request[c] = half
    }
    :: atomic {
        request[c] == half ->
        live[c] = request_generation[c] + 2;
        answer(granted)
    }
    /* Replay: the whole chain is revoked. */
    :: atomic {
        request[c] == going && live[c] != request_generation[c] + 1 ->
        live[c] = 0;
        answer(refused)
    }
    :: atomic {
        request[c] == going && connected[c] && faults > 0 ->
        faults--;
        if
        :: request[c] = idle; request_generation[c] = 0; heard[c] = gone
        :: request[c] = idle; request_generation[c] = 0; heard[c] = untouched
        :: late[c] = LATE; heard[c] = gone
        fi;
        connected[c] = false
    }
    :: atomic {
        request[c] == half && connected[c] && faults > 0 ->
        faults--;
        late[c] = LATE;
        heard[c] = gone;
        connected[c] = false
    }
    /* A request whose connection has ended need not arrive. */
    :: atomic {
        request[c] == going && !connected[c] ->
        request[c] = idle;
        request_generation[c] = 0;
        late[c] = 0
    }
    :: atomic {
        revocation[c] == going ->
        if
        :: live[c] = 0; revocation[c] = granted
        :: faults > 0 -> faults--; live[c] = 0; revocation[c] = gone
        :: faults > 0 -> faults--; revocation[c] = gone
        fi
    }
    :: atomic {
        c == 0 && login == going ->
        if
        :: login = granted
        :: faults > 0 -> faults--; login = gone
        fi
    }
    od
}

/* --- time --- */

#define must_end(i) (request[i] != idle && !connected[i] && late[i] == 0)
#define waits(i) (quiet[i] > 0 || (request[i] != idle && !connected[i] && late[i] > 0))

proctype clock()
{
    byte i;
end:
    do
    :: atomic {
        (waits(0) || waits(1) || waits(2)) && !must_end(0) && !must_end(1) && !must_end(2) ->
        i = 0;
        do
        :: i < CHAINS ->
            quiet[i] = (quiet[i] > 0 -> quiet[i] - 1 : 0);
            late[i] = (late[i] > 0 -> late[i] - 1 : 0);
            i++
        :: else -> break
        od;
        i = 0
    }
    :: atomic {
        access && expiries > 0 ->
        expiries--;
        access = false
    }
    od
}

/* --- the end: nothing is left to do --- */

inline check_end(n)
{
    if
    :: living(n) -> assert(state[n] == chain_active && live[n] == generation[n] + 1)     /* P2: the login works. */
    :: state[n] != none && !living(n) -> assert(state[n] != chain_revoking && live[n] == 0) /* P5: it is dead up there too. */
    :: else
    fi
}

proctype finally()
{
end:
    atomic {
        timeout ->
        assert(up);
        check_end(0);
        check_end(1);
        check_end(2);
        assert(account != account_active || !nobody_lives || (password && rows == CHAINS))
    }
}

init
{
    atomic {
        c_code {
            now.rotations = setting("ROTATIONS");
            now.crashes = setting("CRASHES");
            now.faults = setting("FAULTS");
            now.logouts = setting("LOGOUTS");
            now.logins = setting("LOGINS");
            now.copies = setting("COPIES");
            now.expiries = setting("EXPIRIES");
            now.rows = setting("PAIR") ? 2 : 1;
            now.password = setting("PASSWORD");
            now.import = setting("IMPORT");
            now.plant = setting("PLANT");
        };
        access = true;
        state[0] = chain_active;
        if
        :: import -> state[0] = chain_held
        :: else
        fi;
        mark[0] = 1;
        counter[0] = 1;
        live[0] = 1;
        if
        :: rows == 2 -> state[1] = chain_active; mark[1] = 1; counter[1] = 1; live[1] = 1
        :: else
        fi;
        run finally();
        run chain(0);
        run chain(1);
        run chain(2);
        run of_account();
        run host();
        run relay(0);
        run relay(1);
        run relay(2);
        run clock()
    }
}
