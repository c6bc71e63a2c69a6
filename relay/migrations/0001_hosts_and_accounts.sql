-- Hosts, accounts, decisions, and where the last checkpoint stands.
--
-- Read by SQLite and Postgres alike. The prefix keeps these tables apart from those of other relay
-- software in the same database. Booleans are 0 or 1, times are milliseconds since 1970.

CREATE TABLE relay_meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE relay_host (
    id              BIGINT PRIMARY KEY,
    hostname        TEXT NOT NULL UNIQUE,
    secure          BIGINT NOT NULL,
    status          TEXT NOT NULL,
    epoch           BIGINT NOT NULL DEFAULT 0,
    cursor_seq      BIGINT,
    account_count   BIGINT NOT NULL DEFAULT 0,
    account_limit   BIGINT NOT NULL,
    first_seen_ms   BIGINT NOT NULL,
    ever_connected  BIGINT NOT NULL DEFAULT 0,
    last_error      TEXT,
    clean_commits   BIGINT NOT NULL DEFAULT 0,
    strict_for_good BIGINT NOT NULL DEFAULT 0,
    cursor_reset_ms BIGINT NOT NULL DEFAULT 0
);

-- Wide columns first, so that Postgres pads nothing; 12 columns without a NULL make 189
-- bytes with the tuple header, and 41 rows fill a page of 8 KiB.
CREATE TABLE relay_account (
    number             BIGINT PRIMARY KEY,
    rev                BIGINT,           -- TID as a number
    last_host_seq      BIGINT,
    last_seq           BIGINT NOT NULL,
    host               INTEGER NOT NULL,
    last_host          INTEGER,
    last_epoch         INTEGER,
    identity_checked_s INTEGER NOT NULL, -- seconds since 1970, 0 = never
    did                BYTEA NOT NULL UNIQUE, -- 15 bytes of a did:plc, or the text of another DID
    repo               BYTEA,            -- data digest, commit digest
    signing_key        BYTEA,
    upstream           TEXT NOT NULL     -- empty = active
);

-- What an operator decided about an account. Not a column of relay_account: a decision is durable
-- before the account's first checkpoint, and no checkpoint can undo it.
CREATE TABLE relay_decision (
    did   BYTEA PRIMARY KEY,
    local TEXT NOT NULL
);
