package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/sipio/sipio/brain"
)

// Audit returns the newest entries of the audit log that fit the query, at most limit of them, newest first.
func (c *Client) Audit(ctx context.Context, q brain.AuditQuery, limit int) (rows []brain.AuditRow, more bool, err error) {
	query := forAccount(nil, q.AccountID)
	for name, value := range map[string]string{"actor": q.Actor, "action": q.Action, "object": q.Object} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.SinceMS > 0 {
		query.Set("since_ms", strconv.FormatInt(q.SinceMS, 10))
	}
	for len(rows) < limit {
		page, err := c.auditPage(ctx, query, min(limit-len(rows), PageSize))
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, page.Items...)
		if page.Next == "" || len(page.Items) == 0 {
			return rows, false, nil
		}
		query.Set("after", page.Next)
	}
	return rows, true, nil
}

// auditPage is a page of the audit log.
type auditPage struct {
	Items []brain.AuditRow
	Next  string
}

func (c *Client) auditPage(ctx context.Context, query url.Values, limit int) (page auditPage, err error) {
	query.Set("limit", strconv.Itoa(limit))
	return page, c.get(ctx, "/v1/audit", query, &page)
}
