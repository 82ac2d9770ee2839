-- +goose Up

-- The country whose dial plan the account's national numbers are read by; '' for none. Which countries have a plan, the
-- program knows.

ALTER TABLE account ADD COLUMN country TEXT NOT NULL DEFAULT '' CHECK (country = '' OR country GLOB '[A-Z][A-Z]');
