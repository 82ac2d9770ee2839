package main

import (
	"net/http"
	"strconv"

	"github.com/sipio/sipio/brain"
)

// fakeAudit has three entries, one a page more than is asked for, and knows filters by what they look for.
func fakeAudit(w http.ResponseWriter, r *http.Request) {
	rows := []brain.AuditRow{
		{ID: "aud_3", AuditEntry: brain.AuditEntry{TimeMS: 1767225600000, Actor: "cu_1", Peer: "192.0.2.7", Action: "ban.lift", Object: "198.51.100.9"}},
		{ID: "aud_2", AuditEntry: brain.AuditEntry{TimeMS: 1767225500000, Actor: "cu_1", Peer: "192.0.2.7", Action: "login.ok", Object: "ann@acme.test", AccountID: "acc_1"}},
		{ID: "aud_1", AuditEntry: brain.AuditEntry{TimeMS: 1767222000000, Actor: "key_1", Action: "config.change", Object: "sip_user 1001", AccountID: "acc_1", Detail: "revision 12: update\nsip_user 1001"}, ActorName: "admin"},
	}
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	var items []brain.AuditRow
	for _, row := range rows {
		of := q.Get("account_id") == "" || q.Get("account_id") == row.AccountID
		if of && (q.Get("actor") == "" || q.Get("actor") == row.Actor) && (q.Get("action") == "" || q.Get("action") == row.Action) && (q.Get("after") == "" || row.ID < q.Get("after")) {
			items = append(items, row)
		}
	}
	next := ""
	if len(items) >= limit {
		items = items[:limit]
		next = items[limit-1].ID
	}
	reply(w, map[string]any{"items": items, "next": next})
}
