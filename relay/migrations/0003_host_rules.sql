-- What an operator, the policy file or the relay itself decided about hosts, and who did it when.
--
-- Times are milliseconds since 1970, 0 = never. An own limit that is NULL leaves the rule to the
-- settings. `growth` is in percent of the limits that the settings give.

ALTER TABLE relay_host ADD COLUMN own_accounts BIGINT;
ALTER TABLE relay_host ADD COLUMN own_per_second BIGINT;
ALTER TABLE relay_host ADD COLUMN own_per_hour BIGINT;
ALTER TABLE relay_host ADD COLUMN own_per_day BIGINT;
ALTER TABLE relay_host ADD COLUMN growth BIGINT NOT NULL DEFAULT 0;
ALTER TABLE relay_host ADD COLUMN strictness TEXT NOT NULL DEFAULT 'default';
ALTER TABLE relay_host ADD COLUMN lenient_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE relay_host ADD COLUMN silenced_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE relay_host ADD COLUMN status_reason TEXT;
ALTER TABLE relay_host ADD COLUMN status_since_ms BIGINT NOT NULL DEFAULT 0;
-- 1 = admitted because somebody asked for it from outside; those count against the day's quota.
ALTER TABLE relay_host ADD COLUMN by_request BIGINT NOT NULL DEFAULT 0;
-- Changes that were recorded so far.
ALTER TABLE relay_host ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;

-- The last changes of a host. A change takes the slot of the one that is a fixed number of changes
-- older, so that a host which flaps for years has no more rows than any other.
CREATE TABLE relay_host_change (
    host         BIGINT NOT NULL,
    slot         BIGINT NOT NULL,
    number       BIGINT NOT NULL,
    at_ms        BIGINT NOT NULL,
    what         TEXT NOT NULL,
    value_before TEXT NOT NULL,
    value_after  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    actor        TEXT NOT NULL,
    PRIMARY KEY (host, slot)
);

-- Domains whose hosts are not read: the domain itself and everything below.
CREATE TABLE relay_domain_ban (
    domain TEXT PRIMARY KEY,
    at_ms  BIGINT NOT NULL,
    actor  TEXT NOT NULL,
    note   TEXT NOT NULL
);

-- 1 = the account is held because its host has more accounts than it may; it is released when there
-- is room. What an operator decides afterwards takes its place.
ALTER TABLE relay_decision ADD COLUMN over_limit BIGINT NOT NULL DEFAULT 0;
CREATE INDEX relay_decision_over_limit ON relay_decision (over_limit) WHERE over_limit = 1;
