-- What operators did, what other relays are still to be told of it, and what the policy file set.

-- One row per action. It is written before the action, as `begun`, and completed after it, so that no
-- change is without a row. `subject`, `before` and `after` are texts for people; the last two are JSON.
CREATE TABLE relay_audit (
    id         BIGINT PRIMARY KEY,
    at_ms      BIGINT NOT NULL,
    actor      TEXT NOT NULL,
    client     TEXT NOT NULL,            -- address, empty when it was no request
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    was        TEXT NOT NULL DEFAULT '', -- JSON, empty before it is known
    became     TEXT NOT NULL DEFAULT '',
    outcome    TEXT NOT NULL             -- begun, done, or why it was refused
);
CREATE INDEX relay_audit_subject ON relay_audit (subject, id);

-- Requests that a sibling relay has not yet taken, in the order in which they were made.
CREATE TABLE relay_outbox (
    id      BIGINT PRIMARY KEY,
    sibling TEXT NOT NULL,
    at_ms   BIGINT NOT NULL,
    target  TEXT NOT NULL,               -- path and query
    body    TEXT NOT NULL                -- JSON, or empty
);
CREATE INDEX relay_outbox_sibling ON relay_outbox (sibling, id);

-- What the policy file set, so that leaving it out of the file undoes it and nothing else.
CREATE TABLE relay_policy (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
);
