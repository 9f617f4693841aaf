-- Everything the first version stores. Times are Unix milliseconds unless a name says otherwise; ids come from `counter` in
-- blocks (a plain INTEGER PRIMARY KEY would start again at 1 in an empty table); sealed columns are opened by the vault alone.

CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- The data key, sealed under the key file or credential. One row.
CREATE TABLE vault(id INTEGER PRIMARY KEY CHECK(id = 1), sealed_key BLOB NOT NULL);

-- A login's owner: (relay_url, username); the user name is '' while an imported token has not told it. States: broker/account.h.
-- `incarnation` counts the relay's wipes as `sub` shows them. A replaced account stays, retired, until its chains are revoked
-- and for the rows that name it.
CREATE TABLE account(
  id INTEGER PRIMARY KEY, uid BLOB NOT NULL, name TEXT NOT NULL,
  relay_url TEXT NOT NULL, username TEXT NOT NULL, sub TEXT, ca_file TEXT,
  state INTEGER NOT NULL, epoch INTEGER NOT NULL, incarnation INTEGER NOT NULL, retired INTEGER NOT NULL,
  stamp INTEGER NOT NULL DEFAULT 1, created INTEGER NOT NULL,
  password BLOB,                                     -- sealed; only with --keep-password
  access_token BLOB, access_expires INTEGER, access_lifetime INTEGER, access_chain INTEGER, -- sealed, under the chain's generation
  access_generation INTEGER);
CREATE UNIQUE INDEX account_name ON account(name) WHERE retired = 0;
CREATE UNIQUE INDEX account_identity ON account(relay_url, username) WHERE retired = 0 AND username <> '';

-- A rotation chain. States: broker/chain.h. `mark` counts intents and answers; the counter file holds its shadow. `doubt`: an
-- earlier attempt with this token had an unknown end. `rotated` 0: imported and never rotated here.
CREATE TABLE chain(
  id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, account INTEGER NOT NULL REFERENCES account(id),
  epoch INTEGER NOT NULL, state INTEGER NOT NULL, generation INTEGER NOT NULL, mark INTEGER NOT NULL,
  doubt INTEGER NOT NULL, rotated INTEGER NOT NULL,
  token BLOB);                                       -- sealed; NULL once revoked or dead
CREATE INDEX chain_account ON chain(account);

-- A topic of an account, as the outbox or the inbox met it. `cursor` is the confirmed cursor: NULL until a start was found.
CREATE TABLE topic(
  id INTEGER PRIMARY KEY, account INTEGER NOT NULL, name TEXT NOT NULL,
  posted INTEGER NOT NULL DEFAULT 0,                 -- a post was accepted: later first posts need not go alone (O7)
  following INTEGER NOT NULL DEFAULT 0,              -- somebody here reads it
  cursor TEXT, newest TEXT,                          -- newest: the newest id seen or stored by us, for look-ups (O3)
  head INTEGER NOT NULL DEFAULT 0,                   -- n of the newest message stored here
  tail INTEGER NOT NULL DEFAULT 0,                   -- n of the newest message pruned; rows are (tail, head]
  rows INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, wanted INTEGER NOT NULL DEFAULT 0,
  UNIQUE(account, name));

CREATE TABLE message(
  seq INTEGER PRIMARY KEY, topic INTEGER NOT NULL, n INTEGER NOT NULL, message_id TEXT NOT NULL,
  at INTEGER NOT NULL, stamp BLOB, timestamp TEXT NOT NULL, metadata BLOB, payload BLOB NOT NULL);
CREATE UNIQUE INDEX message_topic ON message(topic, n, message_id);

-- Where a topic's stored part begins: the id of the message at `tail` (the last one pruned, or the one that the subscription
-- began after; "0-0": the very beginning), and the relay's incarnation that the cursor is of (R7).
CREATE TABLE anchor(topic INTEGER PRIMARY KEY, message_id TEXT NOT NULL, incarnation INTEGER NOT NULL);

-- What could not be read or is no longer kept, by name.
CREATE TABLE gap(
  id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, at INTEGER NOT NULL, n INTEGER NOT NULL, reason TEXT NOT NULL,
  after_id TEXT, until_id TEXT);

-- A poller on the wire face, by the random id in its placeholder, and what it confirmed (I8).
CREATE TABLE session(
  id BLOB PRIMARY KEY, account INTEGER NOT NULL, door TEXT NOT NULL, uid INTEGER NOT NULL, username TEXT NOT NULL,
  created INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE place(
  session BLOB NOT NULL, topic INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(session, topic)) WITHOUT ROWID;

-- The outbox. States: broker/outbox.h; `state < 3` are the open ones. Bodies lie apart: an UPDATE that shrinks a row frees nothing.
CREATE TABLE post(
  id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, state INTEGER NOT NULL, at INTEGER NOT NULL, ended INTEGER,
  expires INTEGER, ttl INTEGER, bytes INTEGER NOT NULL,
  key BLOB, digest BLOB NOT NULL,                    -- key: hash of account, door, uid and the caller's key (O5)
  stamp BLOB,                                        -- our id in the message's metadata (O2)
  batch INTEGER, attempts INTEGER NOT NULL DEFAULT 0, maybe_duplicate INTEGER NOT NULL DEFAULT 0,
  message_id TEXT, timestamp TEXT,                   -- the relay's
  status INTEGER, detail TEXT);                      -- of a refusal
CREATE INDEX post_open ON post(topic, id) WHERE state < 3;
CREATE TABLE post_body(id INTEGER PRIMARY KEY, metadata BLOB, payload BLOB NOT NULL);

-- One upstream request of one or more rows: its key and composition stay the same across retries (O4).
CREATE TABLE batch(
  id INTEGER PRIMARY KEY, account INTEGER NOT NULL, key TEXT NOT NULL, state INTEGER NOT NULL, started INTEGER NOT NULL,
  newest TEXT);                                      -- newest id of the topic known before the attempt (O3)

CREATE TABLE event(
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, account INTEGER, kind TEXT NOT NULL, text TEXT NOT NULL);
