-- +goose Up

-- One table a resource, one column a field; every name is the one of the JSON and of the declarative
-- file. Foreign keys are deferred to the commit, so that a change set may be written in any order.
-- A tenant row refers to other tenant rows by (account_id, id): a row of another account cannot be named.

CREATE TABLE account (
    id        TEXT PRIMARY KEY CHECK (id LIKE 'acc\_%' ESCAPE '\'),
    parent_id TEXT REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name      TEXT NOT NULL UNIQUE CHECK (name <> ''),
    status    TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'closed')),
    timezone  TEXT NOT NULL CHECK (timezone <> ''),
    language  TEXT NOT NULL CHECK (language <> '')
) STRICT;
CREATE INDEX account_parent ON account (parent_id);

CREATE TABLE sip_domain (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'dom\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    domain     TEXT NOT NULL UNIQUE CHECK (domain <> '' AND domain = lower(domain)),
    is_primary INTEGER NOT NULL CHECK (is_primary IN (0, 1)),
    UNIQUE (account_id, domain)
) STRICT;
CREATE UNIQUE INDEX sip_domain_one_primary ON sip_domain (account_id) WHERE is_primary = 1;

CREATE TABLE node (
    id            TEXT PRIMARY KEY CHECK (id LIKE 'node\_%' ESCAPE '\'),
    name          TEXT NOT NULL UNIQUE CHECK (name <> ''),
    region        TEXT NOT NULL,
    agent_url     TEXT NOT NULL,
    sip_addresses TEXT NOT NULL CHECK (json_valid(sip_addresses)),
    state         TEXT NOT NULL CHECK (state IN ('active', 'draining', 'drained', 'lost')),
    weight        INTEGER NOT NULL CHECK (weight BETWEEN 0 AND 1000)
) STRICT;

-- account_id is null for a key of the platform itself. Only the SHA-256 of a key is here.
CREATE TABLE api_key (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'key\_%' ESCAPE '\'),
    account_id TEXT REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name       TEXT NOT NULL CHECK (name <> ''),
    scopes     TEXT NOT NULL CHECK (json_valid(scopes)),
    hash       TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;
CREATE INDEX api_key_account ON api_key (account_id);
CREATE UNIQUE INDEX api_key_name ON api_key (ifnull(account_id, ''), name);

CREATE TABLE sip_user (
    id                     TEXT PRIMARY KEY CHECK (id LIKE 'us\_%' ESCAPE '\'),
    account_id             TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    username               TEXT NOT NULL CHECK (length(username) BETWEEN 1 AND 64),
    display_name           TEXT NOT NULL,
    ring_timeout_sec       INTEGER NOT NULL CHECK (ring_timeout_sec BETWEEN 1 AND 300),
    ring_strategy          TEXT NOT NULL CHECK (ring_strategy IN ('simultaneous', 'sequential', 'specific')),
    status                 TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    dnd                    INTEGER NOT NULL CHECK (dnd IN (0, 1)),
    fwd_always_dest_kind   TEXT NOT NULL CHECK (fwd_always_dest_kind IN ('', 'user', 'extension', 'ring_group', 'hangup')),
    fwd_always_dest_id     TEXT NOT NULL,
    fwd_busy_dest_kind     TEXT NOT NULL CHECK (fwd_busy_dest_kind IN ('', 'user', 'extension', 'ring_group', 'hangup')),
    fwd_busy_dest_id       TEXT NOT NULL,
    fwd_noanswer_dest_kind TEXT NOT NULL CHECK (fwd_noanswer_dest_kind IN ('', 'user', 'extension', 'ring_group', 'hangup')),
    fwd_noanswer_dest_id   TEXT NOT NULL,
    UNIQUE (account_id, id),
    UNIQUE (account_id, username)
) STRICT;

CREATE TABLE sip_device (
    id            TEXT PRIMARY KEY CHECK (id LIKE 'dev\_%' ESCAPE '\'),
    account_id    TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    user_id       TEXT NOT NULL,
    auth_username TEXT NOT NULL CHECK (length(auth_username) BETWEEN 1 AND 64),
    realm         TEXT NOT NULL CHECK (realm = lower(realm)),
    ha1_md5       TEXT NOT NULL CHECK (length(ha1_md5) IN (0, 32)),
    ha1_sha256    TEXT NOT NULL CHECK (length(ha1_sha256) IN (0, 64)),
    transport     TEXT NOT NULL CHECK (transport IN ('udp', 'tcp', 'tls', 'wss')),
    is_webrtc     INTEGER NOT NULL CHECK (is_webrtc IN (0, 1)),
    ring_order    INTEGER NOT NULL CHECK (ring_order BETWEEN 0 AND 1000),
    ring_on_fork  INTEGER NOT NULL CHECK (ring_on_fork IN (0, 1)),
    status        TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    CHECK (ha1_md5 <> '' OR ha1_sha256 <> ''),
    UNIQUE (auth_username, realm),
    FOREIGN KEY (account_id, user_id) REFERENCES sip_user (account_id, id) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (account_id, realm) REFERENCES sip_domain (account_id, domain) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX sip_device_user ON sip_device (account_id, user_id);
CREATE INDEX sip_device_realm ON sip_device (account_id, realm);

CREATE TABLE ring_group (
    id                 TEXT PRIMARY KEY CHECK (id LIKE 'rg\_%' ESCAPE '\'),
    account_id         TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    name               TEXT NOT NULL CHECK (name <> ''),
    strategy           TEXT NOT NULL CHECK (strategy IN ('simultaneous', 'sequential')),
    ring_timeout_sec   INTEGER NOT NULL CHECK (ring_timeout_sec BETWEEN 1 AND 300),
    overflow_dest_kind TEXT NOT NULL CHECK (overflow_dest_kind IN ('', 'user', 'extension', 'ring_group', 'hangup')),
    overflow_dest_id   TEXT NOT NULL,
    UNIQUE (account_id, id),
    UNIQUE (account_id, name)
) STRICT;

-- position keeps the list's order; "order" is the field of the member.
CREATE TABLE ring_group_member (
    account_id    TEXT NOT NULL,
    ring_group_id TEXT NOT NULL,
    position      INTEGER NOT NULL CHECK (position BETWEEN 0 AND 49),
    user_id       TEXT NOT NULL,
    "order"       INTEGER NOT NULL CHECK ("order" BETWEEN 0 AND 1000),
    PRIMARY KEY (ring_group_id, position),
    UNIQUE (ring_group_id, user_id),
    FOREIGN KEY (account_id, ring_group_id) REFERENCES ring_group (account_id, id) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (account_id, user_id) REFERENCES sip_user (account_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX ring_group_member_group ON ring_group_member (account_id, ring_group_id);
CREATE INDEX ring_group_member_user ON ring_group_member (account_id, user_id);

CREATE TABLE extension (
    id         TEXT PRIMARY KEY CHECK (id LIKE 'ext\_%' ESCAPE '\'),
    account_id TEXT NOT NULL REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED,
    digits     TEXT NOT NULL CHECK (length(digits) BETWEEN 1 AND 32),
    dest_kind  TEXT NOT NULL CHECK (dest_kind IN ('user', 'extension', 'ring_group', 'hangup')),
    dest_id    TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    UNIQUE (account_id, digits)
) STRICT;

-- The history: one change_set a revision, one change_row a resource it touched, with the whole row
-- before and after as JSON. The digests of devices are in it, the hashes of API keys are not.
CREATE TABLE change_set (
    version INTEGER PRIMARY KEY CHECK (version > 0),
    time_ms INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    summary TEXT NOT NULL
) STRICT;

CREATE TABLE change_row (
    version     INTEGER NOT NULL REFERENCES change_set (version),
    seq         INTEGER NOT NULL,
    op          TEXT NOT NULL CHECK (op IN ('create', 'update', 'delete')),
    kind        TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    account_id  TEXT NOT NULL, -- '' for the platform; no foreign key: history outlives accounts
    before      TEXT CHECK (before IS NULL OR json_valid(before)),
    after       TEXT CHECK (after IS NULL OR json_valid(after)),
    PRIMARY KEY (version, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX change_row_account ON change_row (account_id, version);
