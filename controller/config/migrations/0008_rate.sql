-- +goose Up

-- What calls to the outside cost. account_id of a plan is null for one of the platform. The rates themselves are an object
-- of the media store, which the row names. That the plan that an account names is there, the program checks.

CREATE TABLE rate_plan (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'rate\_%' ESCAPE '\'),
    account_id TEXT REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT NOT NULL CHECK (name <> ''),
    currency   TEXT NOT NULL CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    object_key TEXT NOT NULL,
    sha256     TEXT NOT NULL CHECK (sha256 = '' OR length(sha256) = 64),
    rates      INTEGER NOT NULL CHECK (rates >= 0)
) STRICT;
CREATE UNIQUE INDEX rate_plan_name ON rate_plan (ifnull(account_id, ''), name);
CREATE INDEX rate_plan_account ON rate_plan (account_id);

ALTER TABLE account ADD COLUMN currency TEXT NOT NULL DEFAULT '' CHECK (currency = '' OR currency GLOB '[A-Z][A-Z][A-Z]');
ALTER TABLE account ADD COLUMN rate_plan TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN hold_sec INTEGER NOT NULL DEFAULT 600 CHECK (hold_sec BETWEEN 10 AND 14400);
