-- +goose Up

-- How orders get to a node, and what it wants with them; its secrets are sealed. A key of the platform may speak for one
-- node alone.

ALTER TABLE node ADD COLUMN reach TEXT NOT NULL DEFAULT 'direct' CHECK (reach <> '');
ALTER TABLE node ADD COLUMN agent_token_sealed TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN access_client_id TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN access_secret_sealed TEXT NOT NULL DEFAULT '';

ALTER TABLE api_key ADD COLUMN node TEXT NOT NULL DEFAULT '' CHECK (node = '' OR account_id IS NULL);
