-- Format 1 of the vault. Times are microseconds since 1970, ids are 16 bytes, keys' ids are text.
-- `mac` columns are keyed hashes over the row: who changes a row without the vault's key is found out.

-- What the vault is, and its wrapped keys. `mac` covers these three tables and the format's number.
CREATE TABLE vault (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    vault_id        BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    default_account BLOB NOT NULL,
    active_epoch    INTEGER NOT NULL,
    bundle          BLOB NOT NULL,
    mac             BLOB NOT NULL
) STRICT;

CREATE TABLE key_slot (
    number  INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL,
    "check" BLOB NOT NULL,
    wrapped BLOB NOT NULL
) STRICT;

CREATE TABLE data_key (
    epoch   INTEGER PRIMARY KEY,
    "check" BLOB NOT NULL,
    wrapped BLOB NOT NULL
) STRICT;

CREATE TABLE account (
    id         BLOB PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    mac        BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A secret and the state of its use are one row: a code read finds both in one place. The rows hang on a small integer,
-- not on the id, because a row fills a tenth of a page and a tree of ids keeps its upper levels small.
CREATE TABLE secret (
    n            INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    account      BLOB NOT NULL REFERENCES account (id),
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    deleted_at   INTEGER,
    last_used_at INTEGER,
    given        INTEGER,
    taken        INTEGER,
    waiting      BLOB NOT NULL,
    accepted     INTEGER,
    wrong        INTEGER NOT NULL,
    held_until   INTEGER,
    mac          BLOB NOT NULL,
    metadata     BLOB NOT NULL,
    seed         BLOB NOT NULL
) STRICT;

-- For lists in order of age, and for the question whether an account is empty.
CREATE INDEX secret_by_account ON secret (account, created_at, id);

-- Codes given within the last hour, by minute. `holder` is `k` and a key's id, or `s` and a seat's. Without a mac: whoever
-- can write here could as well delete the rows, and they limit, they do not authorise.
CREATE TABLE code_count (
    secret BLOB NOT NULL,
    holder BLOB NOT NULL,
    minute INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (secret, holder, minute)
) STRICT, WITHOUT ROWID;

-- Registrations that may be repeated. No reference to the secret: it may be erased, the answer stays.
CREATE TABLE idempotency (
    key        BLOB PRIMARY KEY NOT NULL,
    request    BLOB NOT NULL,
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    mac        BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- `email_key` is the address without case.
CREATE TABLE seat (
    id                BLOB PRIMARY KEY NOT NULL,
    account           BLOB NOT NULL REFERENCES account (id),
    created_at        INTEGER NOT NULL,
    email             TEXT NOT NULL,
    email_key         TEXT NOT NULL,
    first_name        TEXT,
    last_name         TEXT,
    forwarding_number TEXT,
    auth_subject      TEXT,
    codes_per_hour    INTEGER,
    mac               BLOB NOT NULL,
    UNIQUE (account, email_key),
    UNIQUE (account, auth_subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX seat_by_account ON seat (account, created_at, id);

-- `secrets` is a row of 16-byte ids; NULL: all of the account. `last_used_at` is not under the mac: it authorises nothing.
CREATE TABLE api_key (
    id             TEXT PRIMARY KEY NOT NULL,
    account        BLOB NOT NULL REFERENCES account (id),
    name           TEXT NOT NULL,
    scopes         TEXT NOT NULL,
    seat           BLOB,
    secrets        BLOB,
    codes_per_hour INTEGER,
    expires_at     INTEGER,
    created_at     INTEGER NOT NULL,
    last_used_at   INTEGER,
    revoked_at     INTEGER,
    hash           BLOB NOT NULL,
    mac            BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_key_by_account ON api_key (account, created_at, id);

-- The trail. Written with every code, so it has no index but its own order: filters read it through.
CREATE TABLE trail (
    seq            INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,
    account        BLOB,
    actor          TEXT NOT NULL,
    actor_key      TEXT,
    seat           BLOB,
    action         TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    secret         BLOB,
    key            TEXT,
    step           INTEGER,
    code_tag       BLOB,
    purpose        TEXT,
    count          INTEGER,
    client_name    TEXT NOT NULL,
    client_version TEXT NOT NULL,
    mac            BLOB NOT NULL
) STRICT;

-- The two ends of the chain, each under a keyed hash of its own (`seal`). `synced` gives an otherwise empty commit
-- something to write.
CREATE TABLE trail_end (
    which  TEXT PRIMARY KEY NOT NULL CHECK (which IN ('base', 'head')),
    seq    INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    seal   BLOB NOT NULL,
    synced INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
