package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/lcr"
	"github.com/sipio/sipio/brain/route"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/media"
	"github.com/sipio/sipio/controller/wallet"
)

// costAccount is an account whose calls go over the cheapest of three carriers, each with a price list of its own.
const costAccount = `
- {kind: account, name: shop, spec: {country: DE, currency: EUR, outbound_countries: ["*", "001"]}}
- {kind: sip_domain, account: shop, name: a.example, spec: {is_primary: true}}
- {kind: sip_user, account: shop, name: "1001", spec: {display_name: Anna}}
- {kind: sip_device, account: shop, name: 1001@a.example, spec: {user_id: "1001", password: secret-1001}}
- {kind: outbound_route, account: shop, name: all, spec: {strategy: least_cost, trunks: [{trunk_id: alpha}, {trunk_id: beta}, {trunk_id: gamma}]}}
`

var carriers = []string{"alpha", "beta", "gamma"}

// BenchmarkRouteLeastCost is least cost as an operator has it: the price lists of three carriers come in as CSV files, their rows in no order,
// by the import that `sipio rate import` asks for, into a media store and a configuration on disk; then calls go over the cheapest. It tells what an
// import takes, how long a brain that starts reads the lists, what they hold in memory, and what a decision costs, with 1,000 prefixes a list
// and with 200,000, and how much of that one look-up is.
func BenchmarkRouteLeastCost(b *testing.B) {
	for _, size := range []int{1_000, lcr.MaxPrefixes} {
		b.Run(fmt.Sprint(len(carriers), "x", size, "-prefixes"), func(b *testing.B) {
			m := newMarket(b, size)
			caller := m.caller(b)
			random, questions := rand.New(rand.NewPCG(1, 2)), make([]api.RouteRequest, 0, 4096)
			used := map[string]int{}
			for len(questions) < cap(questions) {
				number := "+49" + fmt.Sprintf("%09d", 200_000_000+random.IntN(700_000_000))
				q := api.RouteRequest{Origin: api.Origin{CallID: number, Method: "INVITE"}, FromUser: "1001", FromDomain: "a.example", RURIUser: number, RURIDomain: "a.example"}
				d := route.Decide(nil, caller, q)
				if len(d.Routes) == 0 {
					continue // no number by the dial plan
				}
				used[d.Routes[0].Trunk.ID]++
				questions = append(questions, q)
			}
			if len(used) != len(carriers) {
				b.Fatalf("the calls went over %v: each carrier is the cheapest for some", used)
			}
			plan := caller.Prices(caller.Account.Account.ID, carriers[0])
			began := time.Now()
			for _, q := range questions {
				plan.Lookup(q.RURIUser[1:], caller.NowMS/1000)
			}
			lookup := time.Since(began)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				route.Decide(nil, caller, questions[i%len(questions)])
			}
			b.ReportMetric(float64(lookup.Nanoseconds())/float64(len(questions)), "ns/lookup")
			b.ReportMetric(m.imported.Seconds()*1000, "ms/import")
			b.ReportMetric(m.read.Seconds()*1000, "ms/read")
			b.ReportMetric(m.held/float64(size*len(carriers)), "B/prefix")
			b.ReportMetric(float64(m.file)/1e6, "MB/file")
			runtime.KeepAlive(m)
		})
	}
}

// market is a brain's configuration and price lists.
type market struct {
	store *config.Store
	plans *wallet.Plans

	file     int           // bytes of one CSV file
	imported time.Duration // one list, the middle of three
	read     time.Duration // one list, at the start
	held     float64       // bytes of the heap for all lists
}

func newMarket(b *testing.B, size int) *market {
	b.Helper()
	ctx, dir := context.Background(), b.TempDir()
	store, err := config.Open(ctx, filepath.Join(dir, "config.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	objects, err := media.Open(ctx, media.Options{URL: filepath.Join(dir, "media")})
	if err != nil {
		b.Fatal(err)
	}
	m := &market{store: store}
	text := costAccount
	for _, name := range carriers {
		text += fmt.Sprintf("- {kind: rate_plan, account: shop, name: %s, spec: {currency: EUR}}\n", name) +
			fmt.Sprintf("- {kind: sip_trunk, account: shop, name: %s, spec: {direction: outbound, proxy: %s.example, cost_plan: %s}}\n", name, name, name)
	}
	if _, _, err := store.Apply(ctx, "bench", []byte(text), brain.ApplyOptions{}); err != nil {
		b.Fatal(err)
	}
	rates := &wallet.Rates{Plans: &wallet.Plans{Row: store.RatePlan, Objects: objects, Log: quiet}, Config: store, Now: func() int64 { return time.Now().Unix() }}
	var took []time.Duration
	for i, name := range carriers {
		csv := priceList(size, uint64(i))
		m.file = len(csv)
		began := time.Now()
		if done, err := rates.Import(ctx, "bench", m.account().Account.ID, name, csv, false); err != nil || done.Rates != size {
			b.Fatalf("%+v %v", done, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	m.imported = took[len(took)/2]

	rates = nil // a brain that starts has none of it yet
	before := heap()
	m.plans = &wallet.Plans{Row: store.RatePlan, Objects: objects, Log: quiet}
	began := time.Now()
	for _, name := range carriers {
		if _, err := m.plans.Plan(ctx, m.account().Account.ID, name); err != nil {
			b.Fatal(err)
		}
	}
	m.read = time.Since(began) / time.Duration(len(carriers))
	m.held = heap() - before
	return m
}

func (m *market) account() *brain.AccountConfig { return m.store.Directory().ByDomain("a.example") }

func (m *market) caller(b *testing.B) route.Caller {
	b.Helper()
	acct := m.account()
	user := acct.UserByName["1001"]
	return route.Caller{Account: acct, User: user, Device: acct.DevicesByUser[user.ID][0], NowMS: time.Now().UnixMilli(), Prices: m.plans.AtHand}
}

// priceList is a carrier's file: Germany as a whole, and below it prefixes of 3 to 8 digits at prices of its own, shuffled.
func priceList(size int, carrier uint64) []byte {
	random := rand.New(rand.NewPCG(carrier, uint64(size)))
	seen := map[string]bool{"49": true}
	for len(seen) < size {
		p := prefix(random)
		if random.IntN(2) == 0 { // half of them of one country, so that most numbers have one
			p = "49" + p[:min(len(p), 6)]
		}
		seen[p] = true
	}
	rows := make([]string, 0, size)
	for p := range seen {
		rows = append(rows, fmt.Sprintf("%s,0,0.%05d,60,1,2026-01-01\n", p, 500+random.IntN(90_000)))
	}
	slices.Sort(rows)
	random.Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
	var text bytes.Buffer
	text.WriteString("prefix,connect,per_minute,interval_first_sec,interval_next_sec,effective_from\n")
	text.WriteString(strings.Join(rows, ""))
	return text.Bytes()
}
