-- Format 2 of the vault: records and audit records, which only the vault's keys give a meaning. A new vault is made from
-- this file alone; format 1 is moved into these tables. Times are microseconds since 1970. An `account` of no bytes is none.

-- The rows hang on a small integer and not on (kind, id), because a row fills a good part of a page: a tree with whole rows
-- in its upper levels is deep. The columns that a use of a secret changes stand in no index, so that it writes one page.
CREATE TABLE record (
    n       INTEGER PRIMARY KEY,
    kind    INTEGER NOT NULL,
    id      BLOB NOT NULL,
    version INTEGER NOT NULL,
    account BLOB NOT NULL,
    sort    INTEGER NOT NULL,
    life    INTEGER NOT NULL,
    mac     BLOB NOT NULL,
    body    BLOB NOT NULL,
    UNIQUE (kind, id)
) STRICT;

-- The lists of an account, and those over all accounts.
CREATE INDEX record_list ON record (kind, account, life, sort, id);
CREATE INDEX record_age ON record (kind, life, sort, id);

-- How many records an account has of a kind, so that the total of a list costs nothing however long the list is.
CREATE TABLE record_count (
    kind    INTEGER NOT NULL,
    account BLOB NOT NULL,
    life    INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (kind, account, life)
) STRICT, WITHOUT ROWID;

-- What finds a record beside its id: names, which are unique, and words, which are not.
CREATE TABLE record_name (
    kind    INTEGER NOT NULL,
    account BLOB NOT NULL,
    name    BLOB NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (kind, account, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX record_name_of ON record_name (kind, id);

CREATE TABLE record_word (
    kind    INTEGER NOT NULL,
    account BLOB NOT NULL,
    word    BLOB NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (kind, account, word, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX record_word_of ON record_word (kind, id);

-- The audit log. `place` is the chain's number times 2^40 plus the record's number in it. A row is written with every code,
-- so it has no index of its own.
CREATE TABLE audit (
    place     INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    mac       BLOB NOT NULL,
    account   BLOB,
    actor_key TEXT,
    key       TEXT,
    seat      BLOB,
    secret    BLOB,
    action    TEXT NOT NULL,
    body      BLOB NOT NULL
) STRICT;

-- Which terms occur where in a segment of 1,024 audit records that follow one another; written once, when it is full. A
-- term is a letter for the column and the value; `blocks` has a bit for each 16 records of the segment.
CREATE TABLE audit_index (
    segment INTEGER NOT NULL,
    term    BLOB NOT NULL,
    blocks  INTEGER NOT NULL,
    PRIMARY KEY (segment, term)
) STRICT, WITHOUT ROWID;

-- Something to write, to find out whether that works.
CREATE TABLE probe (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    probed INTEGER NOT NULL
) STRICT;

INSERT INTO probe (one, probed) VALUES (1, 0);
