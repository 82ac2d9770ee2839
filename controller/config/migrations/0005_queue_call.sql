-- +goose Up

-- Callbacks and deflection by key, supervisors, transfers. Rows that are there already get the defaults.

-- Made anew because its CHECKs cannot be changed.
ALTER TABLE in_queue_option RENAME TO old_option;
CREATE TABLE in_queue_option (
    id                  TEXT PRIMARY KEY CHECK (id LIKE 'opt\_%' ESCAPE '\'),
    account_id          TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    queue_id            TEXT NOT NULL,
    digit               TEXT NOT NULL CHECK (digit IN ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#')),
    action              TEXT NOT NULL CHECK (action IN ('route', 'webhook', 'deflect', 'callback', 'hangup')),
    dest_kind           TEXT NOT NULL CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    dest_id             TEXT NOT NULL,
    webhook_url         TEXT NOT NULL,
    stay_in_queue       INTEGER NOT NULL CHECK (stay_in_queue IN (0, 1)),
    prompt_media_id     TEXT NOT NULL,
    callback_tries      INTEGER NOT NULL CHECK (callback_tries BETWEEN 1 AND 10),
    callback_retry_sec  INTEGER NOT NULL CHECK (callback_retry_sec BETWEEN 10 AND 86400),
    callback_window_sec INTEGER NOT NULL CHECK (callback_window_sec BETWEEN 60 AND 86400),
    callback_ask        INTEGER NOT NULL CHECK (callback_ask IN (0, 1)),
    label               TEXT NOT NULL,
    CHECK ((action = 'route') = (dest_kind <> '')),
    CHECK ((action IN ('webhook', 'deflect')) = (webhook_url <> '')),
    UNIQUE (queue_id, digit),
    FOREIGN KEY (account_id, queue_id) REFERENCES queue (account_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
INSERT INTO in_queue_option SELECT id, account_id, queue_id, digit, action, dest_kind, dest_id, webhook_url, stay_in_queue, prompt_media_id, 3, 300, 14400, 0, label FROM old_option;
DROP TABLE old_option;
CREATE INDEX in_queue_option_queue ON in_queue_option (account_id, queue_id);

ALTER TABLE queue ADD COLUMN allow_listen INTEGER NOT NULL DEFAULT 0 CHECK (allow_listen IN (0, 1));
ALTER TABLE queue ADD COLUMN allow_whisper INTEGER NOT NULL DEFAULT 0 CHECK (allow_whisper IN (0, 1));
ALTER TABLE queue ADD COLUMN allow_barge INTEGER NOT NULL DEFAULT 0 CHECK (allow_barge IN (0, 1));

ALTER TABLE sip_user ADD COLUMN allow_pstn_blind_transfer INTEGER NOT NULL DEFAULT 0 CHECK (allow_pstn_blind_transfer IN (0, 1));
