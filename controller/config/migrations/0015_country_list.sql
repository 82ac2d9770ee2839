-- +goose Up

-- Which countries an account may call: [] is its own. And trunks are targets: a column is made anew because its CHECK cannot be changed.
ALTER TABLE account ADD COLUMN outbound_countries TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(outbound_countries));

ALTER TABLE account RENAME COLUMN did_default_dest_kind TO old_kind;
ALTER TABLE account ADD COLUMN did_default_dest_kind TEXT NOT NULL DEFAULT '' CHECK (did_default_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE account SET did_default_dest_kind = old_kind;
ALTER TABLE account DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_always_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_always_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_always_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE sip_user SET fwd_always_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_busy_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_busy_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_busy_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE sip_user SET fwd_busy_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_noanswer_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_noanswer_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_noanswer_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE sip_user SET fwd_noanswer_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE ring_group RENAME COLUMN overflow_dest_kind TO old_kind;
ALTER TABLE ring_group ADD COLUMN overflow_dest_kind TEXT NOT NULL DEFAULT '' CHECK (overflow_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE ring_group SET overflow_dest_kind = old_kind;
ALTER TABLE ring_group DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN dest_kind TEXT NOT NULL DEFAULT 'hangup' CHECK (dest_kind IN ('flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE extension SET dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE extension SET closed_dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE extension SET holiday_dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN dest_kind TEXT NOT NULL DEFAULT '' CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE did SET dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE did SET closed_dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE did SET holiday_dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE queue SET closed_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE queue SET holiday_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN timeout_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN timeout_dest_kind TEXT NOT NULL DEFAULT '' CHECK (timeout_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE queue SET timeout_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN no_agents_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN no_agents_dest_kind TEXT NOT NULL DEFAULT '' CHECK (no_agents_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE queue SET no_agents_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN queue_full_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN queue_full_dest_kind TEXT NOT NULL DEFAULT '' CHECK (queue_full_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE queue SET queue_full_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN ewt_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN ewt_dest_kind TEXT NOT NULL DEFAULT '' CHECK (ewt_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE queue SET ewt_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE forward RENAME COLUMN overflow_dest_kind TO old_kind;
ALTER TABLE forward ADD COLUMN overflow_dest_kind TEXT NOT NULL DEFAULT '' CHECK (overflow_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup'));
UPDATE forward SET overflow_dest_kind = old_kind;
ALTER TABLE forward DROP COLUMN old_kind;

-- This one stands in a CHECK of the table too, which is made anew therefore.
ALTER TABLE in_queue_option RENAME TO old_option;
CREATE TABLE in_queue_option (
    id                  TEXT PRIMARY KEY CHECK (id LIKE 'opt\_%' ESCAPE '\'),
    account_id          TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    queue_id            TEXT NOT NULL,
    digit               TEXT NOT NULL CHECK (digit IN ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#')),
    action              TEXT NOT NULL CHECK (action IN ('route', 'webhook', 'deflect', 'callback', 'hangup')),
    dest_kind           TEXT NOT NULL CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'trunk', 'hangup')),
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
INSERT INTO in_queue_option SELECT id, account_id, queue_id, digit, action, dest_kind, dest_id, webhook_url, stay_in_queue, prompt_media_id,
    callback_tries, callback_retry_sec, callback_window_sec, callback_ask, label FROM old_option;
DROP TABLE old_option;
CREATE INDEX in_queue_option_queue ON in_queue_option (account_id, queue_id);
