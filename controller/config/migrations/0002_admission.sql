-- +goose Up

-- What admission control counts against: simultaneous calls (0 = no limit) and call limits. Rows that are
-- there already get the defaults.

ALTER TABLE account ADD COLUMN max_in INTEGER NOT NULL DEFAULT 0 CHECK (max_in BETWEEN 0 AND 100000);
ALTER TABLE account ADD COLUMN max_out INTEGER NOT NULL DEFAULT 0 CHECK (max_out BETWEEN 0 AND 100000);
ALTER TABLE account ADD COLUMN max_internal INTEGER NOT NULL DEFAULT 0 CHECK (max_internal BETWEEN 0 AND 100000);
ALTER TABLE account ADD COLUMN max_dialer INTEGER NOT NULL DEFAULT 0 CHECK (max_dialer BETWEEN 0 AND 100000);
ALTER TABLE account ADD COLUMN admission_policy TEXT NOT NULL DEFAULT 'local_share' CHECK (admission_policy IN ('local_share', 'closed'));

ALTER TABLE sip_user ADD COLUMN max_simultaneous INTEGER NOT NULL DEFAULT 0 CHECK (max_simultaneous BETWEEN 0 AND 100000);

ALTER TABLE node ADD COLUMN capacity INTEGER NOT NULL DEFAULT 0 CHECK (capacity BETWEEN 0 AND 100000);

-- scope_id is a user's id, or the account's own or nothing, as scope_kind says. 'did' is refused by the
-- program until there are DIDs.
CREATE TABLE call_limit (
    id             TEXT PRIMARY KEY CHECK (id LIKE 'lim\_%' ESCAPE '\'),
    account_id     TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name           TEXT NOT NULL CHECK (name <> ''),
    scope_kind     TEXT NOT NULL CHECK (scope_kind IN ('account', 'user', 'did', 'number')),
    scope_id       TEXT NOT NULL,
    number_pattern TEXT NOT NULL CHECK (length(number_pattern) <= 32),
    direction      TEXT NOT NULL CHECK (direction IN ('in', 'out', 'internal', 'dialer', 'any')),
    period_sec     INTEGER NOT NULL CHECK (period_sec BETWEEN 1 AND 2678400),
    max_count      INTEGER NOT NULL CHECK (max_count BETWEEN 1 AND 10000),
    hard           INTEGER NOT NULL CHECK (hard IN (0, 1)),
    CHECK ((scope_kind = 'number') = (number_pattern <> '')),
    CHECK (scope_kind <> 'user' OR scope_id <> ''),
    UNIQUE (account_id, name)
) STRICT;
