package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// Balance returns what an account has; accountID "" means the key's own.
func (c *Client) Balance(ctx context.Context, accountID string) (b api.BalanceState, err error) {
	return b, c.get(ctx, api.PathBalance, forAccount(nil, accountID), &b)
}

// ChangeBalance changes a balance or a limit by hand: path is one of PathBalanceTopUp, PathBalanceAdjust and PathBalanceLimit. The
// same change again is done once.
func (c *Client) ChangeBalance(ctx context.Context, path, accountID string, change api.BalanceChange) (done api.BalanceChanged, err error) {
	body, err := json.Marshal(change)
	if err != nil {
		return done, fmt.Errorf("write the request: %w", err)
	}
	reply, _, err := c.do(ctx, http.MethodPost, path, forAccount(nil, accountID), "application/json", body)
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(reply, &done); err != nil {
		return done, fmt.Errorf("read the balance: %w", err)
	}
	return done, nil
}

// Statement returns movements behind a number, at most limit of them, or from a time on when fromMS is not 0.
func (c *Client) Statement(ctx context.Context, accountID string, after, fromMS int64, limit int) (p balance.Page, err error) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	if fromMS > 0 {
		query.Set("from_ms", strconv.FormatInt(fromMS, 10))
	}
	return p, c.get(ctx, api.PathBalanceStatement, forAccount(query, accountID), &p)
}

// ImportRates makes a file of rates that of a plan of an account, or of the platform (""), or only says what that would change. A
// file with mistakes is a brain.Error with their lines in Fields.
func (c *Client) ImportRates(ctx context.Context, accountID, plan string, csv []byte, dryRun bool) (done api.RateImport, err error) {
	query := forAccount(url.Values{"plan": {plan}, "dry_run": {strconv.FormatBool(dryRun)}}, accountID)
	reply, _, err := c.do(ctx, http.MethodPost, api.PathRateImport, query, "text/csv", csv)
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(reply, &done); err != nil {
		return done, fmt.Errorf("read what was imported: %w", err)
	}
	return done, nil
}

// Rate returns the rate of a number in a plan.
func (c *Client) Rate(ctx context.Context, accountID, plan, number string) (r api.RateShown, err error) {
	return r, c.get(ctx, api.PathRates, forAccount(url.Values{"plan": {plan}, "number": {number}}, accountID), &r)
}
