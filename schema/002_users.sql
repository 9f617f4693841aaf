-- Which local user (uid) handed a post over, or was the first to name a topic: what one user may hold is bounded. -1: it was
-- there before.
ALTER TABLE post ADD COLUMN uid INTEGER NOT NULL DEFAULT -1;
ALTER TABLE topic ADD COLUMN uid INTEGER NOT NULL DEFAULT -1;
