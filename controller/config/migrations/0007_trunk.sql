-- +goose Up

-- Calls to the outside: trunks that carry them, routes, forwards, caller numbers, secrets. Rows that are there already get the
-- defaults. Columns whose name ends in _id or _ref are empty where they name nothing; that what they name exists, the
-- program checks.

-- Forwards are targets: a column is made anew because its CHECK cannot be changed.
ALTER TABLE account RENAME COLUMN did_default_dest_kind TO old_kind;
ALTER TABLE account ADD COLUMN did_default_dest_kind TEXT NOT NULL DEFAULT '' CHECK (did_default_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE account SET did_default_dest_kind = old_kind;
ALTER TABLE account DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_always_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_always_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_always_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE sip_user SET fwd_always_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_busy_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_busy_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_busy_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE sip_user SET fwd_busy_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_noanswer_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_noanswer_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_noanswer_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE sip_user SET fwd_noanswer_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE ring_group RENAME COLUMN overflow_dest_kind TO old_kind;
ALTER TABLE ring_group ADD COLUMN overflow_dest_kind TEXT NOT NULL DEFAULT '' CHECK (overflow_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE ring_group SET overflow_dest_kind = old_kind;
ALTER TABLE ring_group DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN dest_kind TEXT NOT NULL DEFAULT 'hangup' CHECK (dest_kind IN ('flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE extension SET dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE extension SET closed_dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE extension SET holiday_dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN dest_kind TEXT NOT NULL DEFAULT '' CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE did SET dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE did SET closed_dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE did SET holiday_dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE queue SET closed_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE queue SET holiday_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN timeout_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN timeout_dest_kind TEXT NOT NULL DEFAULT '' CHECK (timeout_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE queue SET timeout_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN no_agents_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN no_agents_dest_kind TEXT NOT NULL DEFAULT '' CHECK (no_agents_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE queue SET no_agents_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN queue_full_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN queue_full_dest_kind TEXT NOT NULL DEFAULT '' CHECK (queue_full_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE queue SET queue_full_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;
ALTER TABLE queue RENAME COLUMN ewt_dest_kind TO old_kind;
ALTER TABLE queue ADD COLUMN ewt_dest_kind TEXT NOT NULL DEFAULT '' CHECK (ewt_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup'));
UPDATE queue SET ewt_dest_kind = old_kind;
ALTER TABLE queue DROP COLUMN old_kind;

-- This one stands in a CHECK of the table too, which is made anew therefore.
ALTER TABLE in_queue_option RENAME TO old_option;
CREATE TABLE in_queue_option (
    id                  TEXT PRIMARY KEY CHECK (id LIKE 'opt\_%' ESCAPE '\'),
    account_id          TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    queue_id            TEXT NOT NULL,
    digit               TEXT NOT NULL CHECK (digit IN ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#')),
    action              TEXT NOT NULL CHECK (action IN ('route', 'webhook', 'deflect', 'callback', 'hangup')),
    dest_kind           TEXT NOT NULL CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup')),
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

ALTER TABLE account ADD COLUMN default_cid_number TEXT NOT NULL DEFAULT '' CHECK (length(default_cid_number) <= 15 AND default_cid_number NOT GLOB '*[^0-9]*');
ALTER TABLE account ADD COLUMN emergency_route_id TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN emergency_when_suspended INTEGER NOT NULL DEFAULT 1 CHECK (emergency_when_suspended IN (0, 1));
ALTER TABLE account ADD COLUMN stir_secret_ref TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN stir_x5u TEXT NOT NULL DEFAULT '' CHECK (stir_x5u = '' OR stir_x5u LIKE 'https://%');

ALTER TABLE sip_user ADD COLUMN out_cid_number TEXT NOT NULL DEFAULT '' CHECK (length(out_cid_number) <= 15 AND out_cid_number NOT GLOB '*[^0-9]*');
ALTER TABLE sip_user ADD COLUMN out_cid_name TEXT NOT NULL DEFAULT '';

-- Trunks that are there already are inbound, known by their addresses.
ALTER TABLE sip_trunk ADD COLUMN direction TEXT NOT NULL DEFAULT 'inbound' CHECK (direction IN ('inbound', 'outbound', 'both'));
ALTER TABLE sip_trunk ADD COLUMN role TEXT NOT NULL DEFAULT 'carrier' CHECK (role IN ('carrier', 'pbx'));
ALTER TABLE sip_trunk ADD COLUMN provider TEXT NOT NULL DEFAULT 'generic' CHECK (provider IN ('generic', 'carrier'));
ALTER TABLE sip_trunk ADD COLUMN inbound_auth TEXT NOT NULL DEFAULT 'ip' CHECK (inbound_auth IN ('ip', 'digest', 'register'));
ALTER TABLE sip_trunk ADD COLUMN proxy TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN transport TEXT NOT NULL DEFAULT 'udp' CHECK (transport IN ('udp', 'tcp', 'tls'));
ALTER TABLE sip_trunk ADD COLUMN do_register INTEGER NOT NULL DEFAULT 0 CHECK (do_register IN (0, 1));
ALTER TABLE sip_trunk ADD COLUMN expire_sec INTEGER NOT NULL DEFAULT 3600 CHECK (expire_sec BETWEEN 60 AND 86400);
ALTER TABLE sip_trunk ADD COLUMN auth_username TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN auth_secret_ref TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN realm TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN from_domain TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN from_user TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN subaccount TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_trunk ADD COLUMN cid_number TEXT NOT NULL DEFAULT '' CHECK (length(cid_number) <= 15 AND cid_number NOT GLOB '*[^0-9]*');
ALTER TABLE sip_trunk ADD COLUMN sends_pai INTEGER NOT NULL DEFAULT 0 CHECK (sends_pai IN (0, 1));
ALTER TABLE sip_trunk ADD COLUMN number_format TEXT NOT NULL DEFAULT 'plus' CHECK (number_format IN ('plus', 'e164', 'national'));
ALTER TABLE sip_trunk ADD COLUMN strip INTEGER NOT NULL DEFAULT 0 CHECK (strip BETWEEN 0 AND 15);
ALTER TABLE sip_trunk ADD COLUMN prefix TEXT NOT NULL DEFAULT '' CHECK (prefix NOT GLOB '*[^0-9*#+]*');
ALTER TABLE sip_trunk ADD COLUMN max_cps INTEGER NOT NULL DEFAULT 0 CHECK (max_cps BETWEEN 0 AND 10000);
ALTER TABLE sip_trunk ADD COLUMN codecs TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(codecs));
ALTER TABLE sip_trunk ADD COLUMN srtp TEXT NOT NULL DEFAULT 'off' CHECK (srtp IN ('off', 'optional', 'required'));
ALTER TABLE sip_trunk ADD COLUMN options_ping_sec INTEGER NOT NULL DEFAULT 30 CHECK (options_ping_sec BETWEEN 0 AND 3600);
ALTER TABLE sip_trunk ADD COLUMN silent_ms INTEGER NOT NULL DEFAULT 4000 CHECK (silent_ms BETWEEN 500 AND 32000);
ALTER TABLE sip_trunk ADD COLUMN stir TEXT NOT NULL DEFAULT 'off' CHECK (stir IN ('off', 'verify', 'require'));
ALTER TABLE sip_trunk ADD COLUMN sign_calls INTEGER NOT NULL DEFAULT 0 CHECK (sign_calls IN (0, 1));
ALTER TABLE sip_trunk ADD COLUMN fail_codes TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(fail_codes));
CREATE UNIQUE INDEX sip_trunk_login ON sip_trunk (account_id, auth_username) WHERE inbound_auth IN ('digest', 'register');

CREATE TABLE outbound_route (
    id           TEXT PRIMARY KEY CHECK (id LIKE 'route\_%' ESCAPE '\'),
    account_id   TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name         TEXT NOT NULL CHECK (name <> ''),
    status       TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    match_prefix TEXT NOT NULL CHECK (length(match_prefix) <= 15 AND match_prefix NOT GLOB '*[^0-9]*'),
    blocked      INTEGER NOT NULL CHECK (blocked IN (0, 1)),
    is_emergency INTEGER NOT NULL CHECK (is_emergency IN (0, 1)),
    strategy     TEXT NOT NULL CHECK (strategy IN ('priority', 'weight', 'least_cost')),
    trunks       TEXT NOT NULL CHECK (json_valid(trunks)),
    schedule_id  TEXT NOT NULL,
    strip        INTEGER NOT NULL CHECK (strip BETWEEN 0 AND 15),
    prefix       TEXT NOT NULL CHECK (prefix NOT GLOB '*[^0-9*#+]*'),
    CHECK (is_emergency = 0 OR blocked = 0 AND schedule_id = ''),
    CHECK (blocked = 1 OR trunks <> '[]'),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE forward (
    id                 TEXT PRIMARY KEY CHECK (id LIKE 'fwd\_%' ESCAPE '\'),
    account_id         TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name               TEXT NOT NULL CHECK (name <> ''),
    number             TEXT NOT NULL CHECK (number <> ''),
    timeout_sec        INTEGER NOT NULL CHECK (timeout_sec BETWEEN 5 AND 300),
    cid_mode           TEXT NOT NULL CHECK (cid_mode IN ('passthrough', 'did', 'custom')),
    cid_number         TEXT NOT NULL CHECK (length(cid_number) <= 15 AND cid_number NOT GLOB '*[^0-9]*'),
    confirm            INTEGER NOT NULL CHECK (confirm IN (0, 1)),
    overflow_dest_kind TEXT NOT NULL CHECK (overflow_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'forward', 'hangup')),
    overflow_dest_id   TEXT NOT NULL,
    CHECK (cid_mode <> 'custom' OR cid_number <> ''),
    UNIQUE (account_id, name)
) STRICT;

-- sealed is what a value was encrypted to; the value itself is nowhere.
CREATE TABLE secret (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'sec\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT NOT NULL CHECK (name <> ''),
    sealed     TEXT NOT NULL CHECK (sealed <> ''),
    UNIQUE (account_id, name)
) STRICT;
