package endpoint

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
)

// pages is an audit log that writes down its entries.
type pages struct {
	entries []brain.AuditEntry
	fail    error
}

func (p *pages) Audit(_ context.Context, e brain.AuditEntry) error {
	p.entries = append(p.entries, e)
	return p.fail
}

// Proves that a change of a balance by hand is an entry with who did it, from where, whose and how much, once however often it is
// asked for; that a refused one is none; and that a log which takes nothing does not undo the change.
func TestBalance_ChangesByHandAreAudited(t *testing.T) {
	b, p, _ := newTill(t)
	log := &pages{}
	b.Audit = log
	change := func(status int, reply balance.Reply) {
		t.Helper()
		p.reply = reply
		if got := b.ask("POST", "/balance/topup?account_id=acc_1", typeJSON, `{"id":"x","asked_ms":1,"micros":5,"note":"cash"}`, withToken(tokenPlatform)); got.Code != status {
			t.Fatalf("%d, want %d: %s", got.Code, status, got.Body)
		}
	}
	change(200, balance.Reply{Done: true})
	change(200, balance.Reply{Done: true, Repeated: true})
	change(409, balance.Reply{Why: balance.WhyConflict})
	if len(log.entries) != 1 {
		t.Fatalf("entries: %+v", log.entries)
	}
	e := log.entries[0]
	if e.Action != "balance.topup" || e.Actor != "key_2" || e.AccountID != "acc_1" || e.Peer == "" || !strings.Contains(e.Detail, "0.000005 EUR, ") || !strings.HasSuffix(e.Detail, "id x: cash") {
		t.Errorf("entry: %+v", e)
	}
	log.fail = errors.New("away")
	change(200, balance.Reply{Done: true})
}
