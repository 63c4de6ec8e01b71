-- Format 2 of the vault on a server: records and audit records, which only the vault's keys give a meaning. Times are
-- microseconds since 1970. An `account` of no bytes is none. Numbers are `bigint` or `smallint`, whose size is the same in
-- every dialect. There are no sequences, triggers, functions or extensions.

CREATE TABLE vault (
    one         smallint PRIMARY KEY CHECK (one = 1),
    application bytea NOT NULL,
    format      bigint NOT NULL
);

CREATE TABLE record (
    kind    smallint NOT NULL,
    id      bytea NOT NULL,
    version bigint NOT NULL,
    account bytea NOT NULL,
    sort    bigint NOT NULL,
    life    smallint NOT NULL,
    mac     bytea NOT NULL,
    body    bytea NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The lists of an account, and those over all accounts.
CREATE INDEX record_list ON record (kind, account, life, sort, id);
CREATE INDEX record_age ON record (kind, life, sort, id);

-- How many records an account has of a kind whose lists are long, so that the total of a list costs nothing.
CREATE TABLE record_count (
    kind    smallint NOT NULL,
    account bytea NOT NULL,
    life    smallint NOT NULL,
    n       bigint NOT NULL,
    PRIMARY KEY (kind, account, life)
);

-- What finds a record beside its id: names, which are unique, and words, which are not.
CREATE TABLE record_name (
    kind    smallint NOT NULL,
    account bytea NOT NULL,
    name    bytea NOT NULL,
    id      bytea NOT NULL,
    PRIMARY KEY (kind, account, name),
    FOREIGN KEY (kind, id) REFERENCES record (kind, id) ON DELETE CASCADE
);

CREATE INDEX record_name_of ON record_name (kind, id);

CREATE TABLE record_word (
    kind    smallint NOT NULL,
    account bytea NOT NULL,
    word    bytea NOT NULL,
    id      bytea NOT NULL,
    PRIMARY KEY (kind, account, word, id),
    FOREIGN KEY (kind, id) REFERENCES record (kind, id) ON DELETE CASCADE
);

CREATE INDEX record_word_of ON record_word (kind, id);

-- The audit log. `place` is the chain's number times 2^40 plus the record's number in it.
CREATE TABLE audit (
    place     bigint PRIMARY KEY,
    at        bigint NOT NULL,
    mac       bytea NOT NULL,
    account   bytea,
    actor_key text,
    key       text,
    seat      bytea,
    secret    bytea,
    action    text NOT NULL,
    body      bytea NOT NULL
);

-- Pages from or up to a time: it never decreases within a chain.
CREATE INDEX audit_at ON audit (at, place);

-- Pages with a filter. A code's row has no subject key, so that index stays small.
CREATE INDEX audit_account ON audit (account, place);
CREATE INDEX audit_actor_key ON audit (actor_key, place);
CREATE INDEX audit_key ON audit (key, place) WHERE key IS NOT NULL;
CREATE INDEX audit_seat ON audit (seat, place) WHERE seat IS NOT NULL;
CREATE INDEX audit_secret ON audit (secret, place) WHERE secret IS NOT NULL;
CREATE INDEX audit_action ON audit (action, place);

-- The writers: each holds one audit chain for as long as its lease runs. `flight` counts its commits, so that it can find
-- out about one whose answer was lost.
CREATE TABLE writer (
    chain       bigint PRIMARY KEY,
    epoch       bigint NOT NULL,
    flight      bigint NOT NULL,
    lease_until bigint NOT NULL
);

-- A commit here shows a reading connection that its server is still the primary.
CREATE TABLE heartbeat (
    place bigint PRIMARY KEY,
    at    bigint NOT NULL
);

-- Limits that hold over all nodes: when a bucket's next call is due at an even pace. What is counted in a bucket is a keyed
-- hash. A row whose time is past says nothing, and is removed. No other index: rows change all the time.
CREATE TABLE pace (
    bucket bytea PRIMARY KEY,
    due    bigint NOT NULL
);
