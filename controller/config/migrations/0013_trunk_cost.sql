-- +goose Up

-- What calls over a trunk cost: the name of a rate plan of its account. That there is one the store checks.

ALTER TABLE sip_trunk ADD COLUMN cost_plan TEXT NOT NULL DEFAULT '';
