-- A decision is announced to consumers by an #account of our own. 1 = it was not yet, so that a
-- crash between the two loses no announcement.
ALTER TABLE relay_decision ADD COLUMN pending BIGINT NOT NULL DEFAULT 0;
