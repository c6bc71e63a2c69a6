-- Why an account is held stands in over_limit: 1 its host is full, 2 it sent too much, 3 too many of its
-- commits did not follow. The last two are released by themselves at this time, ms since 1970.
ALTER TABLE relay_decision ADD COLUMN held_until_ms BIGINT NOT NULL DEFAULT 0;
CREATE INDEX relay_decision_held_until ON relay_decision (held_until_ms) WHERE held_until_ms > 0;
