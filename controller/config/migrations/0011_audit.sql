-- +goose Up

-- The audit log: who did what. Entries of change sets are written with them, all others come by the audit log of the
-- brains, of which audit_position is the last message that is here. Ids rise with the time of their making and are the same
-- in every brain's file. account_id is '' for a matter of the platform; an account that is gone keeps its entries.

CREATE TABLE audit (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'aud\_%' ESCAPE '\'),
    time_ms    INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    peer       TEXT NOT NULL,
    action     TEXT NOT NULL CHECK (action <> ''),
    object     TEXT NOT NULL,
    account_id TEXT NOT NULL,
    detail     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_account ON audit (account_id, id);
CREATE INDEX audit_action ON audit (action, id);

CREATE TABLE audit_position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO audit_position (one, seq) VALUES (1, 0);
