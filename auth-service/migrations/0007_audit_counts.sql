-- Repeated refusals of one kind from one network within an hour are one row that counts. Times are microseconds since 1970
-- (UTC).

-- How often it happened, and when it did last; NULL where it happened once, at `at`.
ALTER TABLE audit ADD COLUMN count BIGINT NOT NULL DEFAULT 1;
ALTER TABLE audit ADD COLUMN last_at BIGINT;
-- SHA-256 of all that such refusals have in common: see src/storage/audit.rs. NULL where a row stands for one act alone.
ALTER TABLE audit ADD COLUMN counted_by BYTEA;
CREATE UNIQUE INDEX audit_counted_by ON audit (counted_by);

-- Refusals are kept for a shorter time than what was done.
CREATE INDEX audit_refusals_by_time ON audit (at) WHERE outcome <> 'done';
