-- +goose Up

-- Queues, who serves them, and the keys that callers press in them. Rows that are there already get the defaults.

-- Queues are targets: a column is made anew because its CHECK cannot be changed.
ALTER TABLE account RENAME COLUMN did_default_dest_kind TO old_kind;
ALTER TABLE account ADD COLUMN did_default_dest_kind TEXT NOT NULL DEFAULT '' CHECK (did_default_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE account SET did_default_dest_kind = old_kind;
ALTER TABLE account DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_always_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_always_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_always_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE sip_user SET fwd_always_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_busy_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_busy_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_busy_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE sip_user SET fwd_busy_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE sip_user RENAME COLUMN fwd_noanswer_dest_kind TO old_kind;
ALTER TABLE sip_user ADD COLUMN fwd_noanswer_dest_kind TEXT NOT NULL DEFAULT '' CHECK (fwd_noanswer_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE sip_user SET fwd_noanswer_dest_kind = old_kind;
ALTER TABLE sip_user DROP COLUMN old_kind;
ALTER TABLE ring_group RENAME COLUMN overflow_dest_kind TO old_kind;
ALTER TABLE ring_group ADD COLUMN overflow_dest_kind TEXT NOT NULL DEFAULT '' CHECK (overflow_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE ring_group SET overflow_dest_kind = old_kind;
ALTER TABLE ring_group DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN dest_kind TEXT NOT NULL DEFAULT 'hangup' CHECK (dest_kind IN ('flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE extension SET dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE extension SET closed_dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE extension RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE extension ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE extension SET holiday_dest_kind = old_kind;
ALTER TABLE extension DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN dest_kind TEXT NOT NULL DEFAULT '' CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE did SET dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN closed_dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN closed_dest_kind TEXT NOT NULL DEFAULT '' CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE did SET closed_dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;
ALTER TABLE did RENAME COLUMN holiday_dest_kind TO old_kind;
ALTER TABLE did ADD COLUMN holiday_dest_kind TEXT NOT NULL DEFAULT '' CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup'));
UPDATE did SET holiday_dest_kind = old_kind;
ALTER TABLE did DROP COLUMN old_kind;

ALTER TABLE sip_user ADD COLUMN is_agent INTEGER NOT NULL DEFAULT 0 CHECK (is_agent IN (0, 1));
ALTER TABLE sip_user ADD COLUMN auto_ready_on_login INTEGER NOT NULL DEFAULT 0 CHECK (auto_ready_on_login IN (0, 1));
ALTER TABLE sip_user ADD COLUMN auto_queue_login INTEGER NOT NULL DEFAULT 0 CHECK (auto_queue_login IN (0, 1));
ALTER TABLE sip_user ADD COLUMN skills TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(skills));

-- max_queued and ewt_threshold_sec are null where there is no limit.
CREATE TABLE queue (
    id                     TEXT PRIMARY KEY CHECK (id LIKE 'q\_%' ESCAPE '\'),
    account_id             TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name                   TEXT NOT NULL CHECK (name <> ''),
    strategy               TEXT NOT NULL CHECK (strategy IN ('longest_idle', 'round_robin', 'ring_all', 'top_down', 'fewest_calls', 'least_talk_time', 'random')),
    agent_ring_timeout_sec INTEGER NOT NULL CHECK (agent_ring_timeout_sec BETWEEN 3 AND 300),
    max_wait_sec           INTEGER NOT NULL CHECK (max_wait_sec BETWEEN 0 AND 86400),
    wrap_up_sec            INTEGER NOT NULL CHECK (wrap_up_sec BETWEEN 0 AND 3600),
    max_no_answer          INTEGER NOT NULL CHECK (max_no_answer BETWEEN 0 AND 100),
    max_queued             INTEGER CHECK (max_queued BETWEEN 0 AND 10000),
    tier_escalation_sec    INTEGER NOT NULL CHECK (tier_escalation_sec BETWEEN 0 AND 3600),
    priority_age_sec       INTEGER NOT NULL CHECK (priority_age_sec BETWEEN 0 AND 86400),
    sticky_sec             INTEGER NOT NULL CHECK (sticky_sec BETWEEN 0 AND 31536000),
    service_level_sec      INTEGER NOT NULL CHECK (service_level_sec BETWEEN 1 AND 3600),
    agent_confirm          INTEGER NOT NULL CHECK (agent_confirm IN (0, 1)),
    record                 INTEGER NOT NULL CHECK (record IN (0, 1)),
    skill_relax            TEXT NOT NULL CHECK (json_valid(skill_relax)),
    announce_position      INTEGER NOT NULL CHECK (announce_position IN (0, 1)),
    announce_ewt           INTEGER NOT NULL CHECK (announce_ewt IN (0, 1)),
    announce_first_sec     INTEGER NOT NULL CHECK (announce_first_sec BETWEEN 1 AND 3600),
    announce_interval_sec  INTEGER NOT NULL CHECK (announce_interval_sec BETWEEN 0 AND 3600),
    ewt_threshold_sec      INTEGER CHECK (ewt_threshold_sec BETWEEN 1 AND 86400),
    ewt_aht_sec            INTEGER NOT NULL CHECK (ewt_aht_sec BETWEEN 1 AND 86400),
    language               TEXT NOT NULL,
    moh_mode               TEXT NOT NULL CHECK (moh_mode IN ('stream', 'file')),
    moh_media_id           TEXT NOT NULL,
    moh_playlist_id        TEXT NOT NULL,
    whisper_media_id       TEXT NOT NULL,
    schedule_id            TEXT NOT NULL,
    closed_dest_kind       TEXT NOT NULL CHECK (closed_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    closed_dest_id         TEXT NOT NULL,
    holiday_dest_kind      TEXT NOT NULL CHECK (holiday_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    holiday_dest_id        TEXT NOT NULL,
    timeout_dest_kind      TEXT NOT NULL CHECK (timeout_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    timeout_dest_id        TEXT NOT NULL,
    no_agents_dest_kind    TEXT NOT NULL CHECK (no_agents_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    no_agents_dest_id      TEXT NOT NULL,
    queue_full_dest_kind   TEXT NOT NULL CHECK (queue_full_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    queue_full_dest_id     TEXT NOT NULL,
    ewt_dest_kind          TEXT NOT NULL CHECK (ewt_dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    ewt_dest_id            TEXT NOT NULL,
    UNIQUE (account_id, id),
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE agent_queue_assignment (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'aq\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    queue_id   TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    tier_level INTEGER NOT NULL CHECK (tier_level BETWEEN 1 AND 100),
    position   INTEGER NOT NULL CHECK (position BETWEEN 0 AND 100000),
    mode       TEXT NOT NULL CHECK (mode IN ('static', 'mandatory', 'self', 'supervised')),
    UNIQUE (queue_id, user_id),
    FOREIGN KEY (account_id, queue_id) REFERENCES queue (account_id, id) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (account_id, user_id) REFERENCES sip_user (account_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX agent_queue_assignment_queue ON agent_queue_assignment (account_id, queue_id);
CREATE INDEX agent_queue_assignment_user ON agent_queue_assignment (account_id, user_id);

CREATE TABLE in_queue_option (
    id              TEXT PRIMARY KEY CHECK (id LIKE 'opt\_%' ESCAPE '\'),
    account_id      TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    queue_id        TEXT NOT NULL,
    digit           TEXT NOT NULL CHECK (digit IN ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#')),
    action          TEXT NOT NULL CHECK (action IN ('route', 'webhook', 'hangup')),
    dest_kind       TEXT NOT NULL CHECK (dest_kind IN ('', 'flow', 'user', 'extension', 'ring_group', 'queue', 'voicemail', 'conference', 'hangup')),
    dest_id         TEXT NOT NULL,
    webhook_url     TEXT NOT NULL,
    stay_in_queue   INTEGER NOT NULL CHECK (stay_in_queue IN (0, 1)),
    prompt_media_id TEXT NOT NULL,
    label           TEXT NOT NULL,
    CHECK ((action = 'route') = (dest_kind <> '')),
    CHECK ((action = 'webhook') = (webhook_url <> '')),
    UNIQUE (queue_id, digit),
    FOREIGN KEY (account_id, queue_id) REFERENCES queue (account_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX in_queue_option_queue ON in_queue_option (account_id, queue_id);
