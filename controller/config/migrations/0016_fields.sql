-- +goose Up

-- The name that is shown with a number of the account.
ALTER TABLE did ADD COLUMN cnam TEXT NOT NULL DEFAULT '';

-- Whose calls a route is for: '' is its own account's, else the id of a subaccount, which the store checks.
ALTER TABLE outbound_route ADD COLUMN caller_account TEXT NOT NULL DEFAULT '';

-- What must have become of a call before for a forward to take it. "trigger" is a word of SQL.
ALTER TABLE forward ADD COLUMN "trigger" TEXT NOT NULL DEFAULT 'always' CHECK ("trigger" IN ('always', 'busy', 'no_answer', 'unreachable'));
