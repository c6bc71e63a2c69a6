-- How far lists of others were read, so that a restart goes on instead of beginning anew.

-- Lists of hosts of other relays.
CREATE TABLE relay_pull (
    source      TEXT PRIMARY KEY,          -- `host` or `host:port`
    secure      BIGINT NOT NULL,
    next_page   TEXT,                      -- NULL = the first page
    listed      BIGINT NOT NULL DEFAULT 0, -- hosts on the pages so far
    added       BIGINT NOT NULL DEFAULT 0,
    known       BIGINT NOT NULL DEFAULT 0,
    passed_over BIGINT NOT NULL DEFAULT 0, -- given up, or never read, by that relay
    refused     BIGINT NOT NULL DEFAULT 0, -- no names of hosts, banned
    started_ms  BIGINT NOT NULL,
    finished_ms BIGINT,                    -- NULL = under way
    last_error  TEXT
);

-- Lists of accounts of hosts.
CREATE TABLE relay_walk (
    host        BIGINT PRIMARY KEY,
    next_page   TEXT,
    listed      BIGINT NOT NULL DEFAULT 0, -- accounts on the pages so far
    added       BIGINT NOT NULL DEFAULT 0, -- not known before, and confirmed
    changed     BIGINT NOT NULL DEFAULT 0, -- known with another status
    refused     BIGINT NOT NULL DEFAULT 0, -- claims that the DID document does not confirm
    asked       BIGINT NOT NULL DEFAULT 0, -- 1 = an operator asked for it
    started_ms  BIGINT NOT NULL,
    finished_ms BIGINT,
    last_error  TEXT
);

-- Hosts that DID documents name and that nobody has told us of.
CREATE TABLE relay_candidate (
    hostname      TEXT PRIMARY KEY,
    did           TEXT NOT NULL,             -- the first whose document named it
    first_seen_ms BIGINT NOT NULL,
    wanted        BIGINT NOT NULL DEFAULT 0, -- 1 = it is to be admitted
    tried_ms      BIGINT,
    outcome       TEXT
);
