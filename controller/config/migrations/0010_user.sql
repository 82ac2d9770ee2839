-- +goose Up

-- Who works with the console. account_id is null for a user of the platform. Of a password only its argon2id hash is here;
-- '' is a user that cannot log in.

CREATE TABLE console_user (
    id            TEXT PRIMARY KEY CHECK (id LIKE 'cu\_%' ESCAPE '\'),
    account_id    TEXT REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    email         TEXT NOT NULL UNIQUE CHECK (email <> '' AND email = lower(email)),
    role          TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    status        TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    password_hash TEXT NOT NULL CHECK (password_hash = '' OR password_hash LIKE '$argon2id$%')
) STRICT;
CREATE INDEX console_user_account ON console_user (account_id);
