-- +goose Up

-- How long a trunk may take to say that it rings.
ALTER TABLE sip_trunk ADD COLUMN progress_ms INTEGER NOT NULL DEFAULT 15000 CHECK (progress_ms BETWEEN 1000 AND 120000);
