-- +goose Up

-- What calls need that the platform answers: numbers, hours, flows, trunks, mailboxes and their messages,
-- conferences, sounds. Rows that are there already get the defaults. Columns whose name ends in _id are empty
-- where they name nothing; that what they name exists, the program checks.

-- More kinds of route targets: a column is made anew because its CHECK cannot be changed.
ALTER TABLE sip_user RENAME COLUMN fwd_always_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_always_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_always_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
UPDATE sip_user SET fwd_always_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_busy_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_busy_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_busy_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
UPDATE sip_user SET fwd_busy_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_noanswer_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_noanswer_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_noanswer_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
UPDATE sip_user SET fwd_noanswer_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE ring_group RENAME COLUMN overflow_dest_kind TO old_kind;
ALTER TABLE ring_group ADD COLUMN overflow_dest_kind TEXT NOT NULL DEFAULT '' CHECK (overflow_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
UPDATE ring_group SET overflow_dest_kind = old_kind;
ALTER TABLE ring_group DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN dest_kind TEXT NOT NULL DEFAULT 'hangup' CHECK (dest_kind IN ('flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
UPDATE extension SET dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;

ALTER TABLE account ADD COLUMN voice_gender TEXT NOT NULL DEFAULT 'male' CHECK (voice_gender IN ('male', 'female'));
ALTER TABLE account ADD COLUMN did_default_dest_kind TEXT NOT NULL DEFAULT '' CHECK (did_default_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
ALTER TABLE account ADD COLUMN did_default_dest_id TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN record_consent INTEGER NOT NULL DEFAULT 0 CHECK (record_consent IN (0, 1));
ALTER TABLE account ADD COLUMN rec_retention_days INTEGER NOT NULL DEFAULT 0 CHECK (rec_retention_days BETWEEN 0 AND 36500);

ALTER TABLE sip_user ADD COLUMN voicemail_id TEXT NOT NULL DEFAULT '';
ALTER TABLE sip_user ADD COLUMN record_policy TEXT NOT NULL DEFAULT 'none' CHECK (record_policy IN ('none', 'inbound', 'outbound', 'all'));

ALTER TABLE ring_group ADD COLUMN schedule_id TEXT NOT NULL DEFAULT '';

ALTER TABLE extension ADD COLUMN dest_xform TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(dest_xform));
ALTER TABLE extension ADD COLUMN schedule_id TEXT NOT NULL DEFAULT '';
ALTER TABLE extension ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
ALTER TABLE extension ADD COLUMN closed_dest_id TEXT NOT NULL DEFAULT '';
ALTER TABLE extension ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup'));
ALTER TABLE extension ADD COLUMN holiday_dest_id TEXT NOT NULL DEFAULT '';

CREATE TABLE did (
    id                TEXT PRIMARY KEY CHECK (id LIKE 'did\_%' ESCAPE '\'),
    account_id        TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    e164              TEXT NOT NULL UNIQUE CHECK (length(e164) BETWEEN 3 AND 15 AND e164 NOT GLOB '*[^0-9]*'),
    label             TEXT NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('active', 'disabled', 'virtual')),
    dest_kind         TEXT NOT NULL CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup')),
    dest_id           TEXT NOT NULL,
    dest_xform        TEXT NOT NULL CHECK (json_valid(dest_xform)),
    max_channels      INTEGER NOT NULL CHECK (max_channels BETWEEN 0 AND 100000),
    allow_anonymous   INTEGER NOT NULL CHECK (allow_anonymous IN (0, 1)),
    schedule_id       TEXT NOT NULL,
    closed_dest_kind  TEXT NOT NULL CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup')),
    closed_dest_id    TEXT NOT NULL,
    holiday_dest_kind TEXT NOT NULL CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'voicemail', 'conference', 'hangup')),
    holiday_dest_id   TEXT NOT NULL
) STRICT;
CREATE INDEX did_account ON did (account_id);

CREATE TABLE time_schedule (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'sch\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT NOT NULL CHECK (name <> ''),
    timezone   TEXT NOT NULL,
    rules      TEXT NOT NULL CHECK (json_valid(rules)),
    UNIQUE (account_id, name)
) STRICT;

-- version counts the graphs that were published; live_graph is the last of them.
CREATE TABLE call_flow (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'flow\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT NOT NULL CHECK (name <> ''),
    status     TEXT NOT NULL CHECK (status IN ('draft', 'published')),
    version    INTEGER NOT NULL CHECK (version >= 0),
    graph      TEXT NOT NULL CHECK (json_valid(graph)),
    live_graph TEXT NOT NULL CHECK (json_valid(live_graph)),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE sip_trunk (
    id           TEXT PRIMARY KEY CHECK (id LIKE 'tr\_%' ESCAPE '\'),
    account_id   TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name         TEXT NOT NULL CHECK (name <> ''),
    status       TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    inbound_acl  TEXT NOT NULL CHECK (json_valid(inbound_acl)),
    max_channels INTEGER NOT NULL CHECK (max_channels BETWEEN 0 AND 100000),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE voicemail (
    id                TEXT PRIMARY KEY CHECK (id LIKE 'vm\_%' ESCAPE '\'),
    account_id        TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name              TEXT NOT NULL CHECK (name <> ''),
    greeting_media_id TEXT NOT NULL,
    skip_instructions INTEGER NOT NULL CHECK (skip_instructions IN (0, 1)),
    quota_mb          INTEGER NOT NULL CHECK (quota_mb BETWEEN 1 AND 10000),
    max_message_sec   INTEGER NOT NULL CHECK (max_message_sec BETWEEN 5 AND 3600),
    notify_email      TEXT NOT NULL,
    notify_url        TEXT NOT NULL,
    attach_recording  INTEGER NOT NULL CHECK (attach_recording IN (0, 1)),
    pin_hash          TEXT NOT NULL CHECK (length(pin_hash) <= 256),
    UNIQUE (account_id, id),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE voicemail_message (
    id           TEXT PRIMARY KEY CHECK (id LIKE 'msg\_%' ESCAPE '\'),
    account_id   TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    voicemail_id TEXT NOT NULL,
    caller       TEXT NOT NULL,
    caller_name  TEXT NOT NULL,
    duration_ms  INTEGER NOT NULL CHECK (duration_ms >= 0),
    created_ts   INTEGER NOT NULL CHECK (created_ts >= 0),
    object_key   TEXT NOT NULL CHECK (object_key <> ''),
    bytes        INTEGER NOT NULL CHECK (bytes >= 0),
    sha256       TEXT NOT NULL CHECK (length(sha256) = 64),
    read         INTEGER NOT NULL CHECK (read IN (0, 1)),
    FOREIGN KEY (account_id, voicemail_id) REFERENCES voicemail (account_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX voicemail_message_voicemail ON voicemail_message (account_id, voicemail_id);

CREATE TABLE conference (
    id                  TEXT PRIMARY KEY CHECK (id LIKE 'conf\_%' ESCAPE '\'),
    account_id          TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name                TEXT NOT NULL CHECK (name <> ''),
    pin_hash            TEXT NOT NULL CHECK (length(pin_hash) <= 256),
    moderator_pin_hash  TEXT NOT NULL CHECK (length(moderator_pin_hash) <= 256),
    max_members         INTEGER NOT NULL CHECK (max_members BETWEEN 0 AND 1000),
    record              INTEGER NOT NULL CHECK (record IN (0, 1)),
    wait_for_moderator  INTEGER NOT NULL CHECK (wait_for_moderator IN (0, 1)),
    announce_join_leave INTEGER NOT NULL CHECK (announce_join_leave IN (0, 1)),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE media_file (
    id          TEXT PRIMARY KEY CHECK (id LIKE 'media\_%' ESCAPE '\'),
    account_id  TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name        TEXT NOT NULL CHECK (name <> ''),
    kind        TEXT NOT NULL CHECK (kind IN ('prompt', 'moh', 'greeting', 'announcement', 'recording')),
    text        TEXT NOT NULL,
    language    TEXT NOT NULL,
    object_key  TEXT NOT NULL,
    format      TEXT NOT NULL CHECK (format IN ('', 'wav')),
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    bytes       INTEGER NOT NULL CHECK (bytes >= 0),
    sha256      TEXT NOT NULL CHECK (length(sha256) IN (0, 64)),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE media_playlist (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'pl\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT NOT NULL CHECK (name <> ''),
    media_ids  TEXT NOT NULL CHECK (json_valid(media_ids)),
    UNIQUE (account_id, name)
) STRICT;
