-- +goose Up

-- Trunks may be known by the name in their certificate. That it is of one trunk alone the store checks, as it does for addresses.

DROP INDEX sip_trunk_login;
ALTER TABLE sip_trunk RENAME COLUMN inbound_auth TO old_auth;
ALTER TABLE sip_trunk ADD COLUMN inbound_auth TEXT NOT NULL DEFAULT 'ip' CHECK (inbound_auth IN ('ip', 'digest', 'register', 'tls'));
UPDATE sip_trunk SET inbound_auth = old_auth;
ALTER TABLE sip_trunk DROP COLUMN old_auth;
CREATE UNIQUE INDEX sip_trunk_login ON sip_trunk (account_id, auth_username) WHERE inbound_auth IN ('digest', 'register');
ALTER TABLE sip_trunk ADD COLUMN tls_name TEXT NOT NULL DEFAULT '' CHECK (tls_name = lower(tls_name) AND (inbound_auth <> 'tls' OR tls_name <> ''));
