package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// Calls of the account cost one cent a second; money is held for ten seconds at a time.
const (
	charged = `kind: rate_plan
name: retail
spec: {currency: EUR}
---
kind: account
name: acme
spec: {timezone: Europe/Berlin, language: de-DE, country: DE, default_cid_number: "4930100", max_out: 8, currency: EUR, rate_plan: retail, hold_sec: 10}
`
	rates = "prefix,connect,per_minute,interval_first_sec,interval_next_sec,effective_from\n49,0,0.60,1,1,2020-01-01\n"
	cent  = 10_000
)

// money is the wallet of the account of an office, as its operator sees it.
type money struct {
	*office
	account string
	topups  int
}

func (m *money) ask(t *testing.T, ctx context.Context, method, path string, body string, out any) {
	t.Helper()
	text, err := m.Request(ctx, method, path, "application/json", []byte(body))
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (m *money) topup(t *testing.T, ctx context.Context, micros int64) {
	t.Helper()
	m.topups++
	var done api.BalanceChanged
	m.ask(t, ctx, "POST", api.PathBalanceTopUp+"?account_id="+m.account, fmt.Sprintf(`{"id":"t%d","asked_ms":%d,"micros":%d}`, m.topups, time.Now().UnixMilli(), micros), &done)
}

func (m *money) balance(t *testing.T, ctx context.Context) (b api.BalanceState) {
	t.Helper()
	m.ask(t, ctx, "GET", api.PathBalance+"?account_id="+m.account, "", &b)
	return b
}

// until calls a number and waits until somebody else ends the call; it returns how long it talked.
func (m *money) until(t *testing.T, ctx context.Context, p *phone.Phone, target string) time.Duration {
	t.Helper()
	ours, theirs := m.answered(t, ctx, p, target, m.alpha)
	began := time.Now()
	talk(t, ctx, ours, theirs)
	for _, end := range []*phone.Call{ours, theirs} {
		select {
		case <-end.Done():
		case <-ctx.Done():
			t.Fatal("nobody has ended the call")
		}
	}
	return time.Since(began)
}

// settled waits until nothing is held, and holds the last movement to the talk, and the balance to all movements.
func (m *money) settled(t *testing.T, ctx context.Context, talked time.Duration, calls int) {
	t.Helper()
	var page balance.Page
	eventually(t, ctx, "the call is charged", func() error {
		m.ask(t, ctx, "GET", api.PathBalanceStatement+"?account_id="+m.account, "", &page)
		settled := 0
		for _, v := range page.Movements {
			if v.Kind == balance.Settle {
				settled++
			}
		}
		if settled != calls {
			return fmt.Errorf("%d calls were charged, want %d", settled, calls)
		}
		return nil
	})
	last, sum := page.Movements[len(page.Movements)-1], int64(0)
	for _, v := range page.Movements {
		sum += v.Micros
	}
	if off := time.Duration(last.TalkMS)*time.Millisecond - talked; off < -time.Second || off > time.Second {
		t.Errorf("%d ms of talk are charged, the phones heard %v", last.TalkMS, talked)
	}
	if want := -cent * ((last.TalkMS + 999) / 1000); last.Micros != want {
		t.Errorf("%d ms of talk cost %d, want %d", last.TalkMS, last.Micros, want)
	}
	if b := m.balance(t, ctx); b.BalanceMicros != sum || b.HeldMicros != 0 || b.BalanceMicros < 0 {
		t.Errorf("%+v, the movements come to %d", b, sum)
	}
}

// A caller without money is refused and calls for help all the same. With money for six seconds the edge itself ends the call when they are
// over; with money for more than is held at first, the brain has it ended: never later than what is paid for, and what was talked is charged, to
// the second.
func TestWallet_CallsEndWithTheirMoney(t *testing.T) {
	m := &money{office: newOffice(t, func(o *edge.Options) { o.Media = true })} // a node that takes orders
	ctx := within(t, 80*time.Second)
	if err := m.Apply(ctx, charged); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Request(ctx, "POST", api.PathRateImport+"?plan=retail", "text/csv", []byte(rates)); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.account, err = m.AccountID(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	anna := registered(t, m.Edge, "1001", realm("kontor.test"))
	m.do(accept, accept, accept)
	refused(t, ctx, anna, "0305551234", 403)
	m.seen(t, 0, 0, 0)
	help, helper := m.answered(t, ctx, anna, "112", m.gamma)
	hangUp(t, ctx, m.Edge, help, helper)
	eventually(t, ctx, "no place is taken", func() error { return sameCalls(ctx, m.Edge, 0) })

	for i, c := range []struct{ micros, sec int64 }{{6 * cent, 6}, {14 * cent, 14}} {
		m.topup(t, ctx, c.micros-m.balance(t, ctx).BalanceMicros)
		talked := m.until(t, ctx, anna, "0305551234")
		if off := talked - time.Duration(c.sec)*time.Second; off < -2*time.Second || off > time.Second/2 {
			t.Errorf("with money for %d s the call lasted %v", c.sec, talked)
		}
		m.settled(t, ctx, talked, i+1)
	}
}
