package bench

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
)

// BenchmarkRouteOutbound decides calls to outside in accounts with few outbound_routes and with as many as one may have, and tells
// what their configuration costs to index and to hold. Nothing is admitted: it is the decision alone, dial plan of the country included.
func BenchmarkRouteOutbound(b *testing.B) {
	for _, routes := range []int{10, 200, 2_000} {
		rows := outboundRows(routes)
		if faults := brain.ValidateAccount(rows); len(faults) > 0 {
			b.Fatalf("%d faults, the first: %v", len(faults), faults[0])
		}
		before := heap()
		began := time.Now()
		acct := brain.NewAccountConfig(1, rows)
		built := time.Since(began)
		held := heap() - before
		caller := route.Caller{Account: acct, User: acct.Users["us_1"], Device: acct.Devices["dev_1"]}
		random, questions := rand.New(rand.NewPCG(1, 2)), make([]api.RouteRequest, 1024)
		for i := range questions {
			number := fmt.Sprintf("+4930%08d", random.IntN(100_000_000))
			questions[i] = api.RouteRequest{Origin: api.Origin{CallID: number, Method: "INVITE"}, FromUser: "1001", FromDomain: "a.example", RURIUser: number, RURIDomain: "a.example"}
		}
		b.Run(fmt.Sprint(routes, "-routes"), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if d := route.Decide(nil, caller, questions[i%len(questions)]); d.Call == nil {
					b.Fatal(d.Why)
				}
			}
			b.ReportMetric(float64(built.Microseconds())/1000, "ms/build")
			b.ReportMetric(held/float64(routes), "B/route")
		})
		runtime.KeepAlive(acct)
	}
}

// outboundRows is an account with a phone, two trunks, and routes of Berlin's prefixes.
func outboundRows(routes int) brain.AccountRows {
	rows := brain.AccountRows{Account: brain.Account{ID: "acc_1", Status: brain.StatusActive, Country: "DE"},
		Domains: []brain.SIPDomain{{Domain: "a.example", IsPrimary: true}},
		Users:   []brain.SIPUser{{ID: "us_1", Username: "1001", Status: brain.StatusActive}},
		Devices: []brain.SIPDevice{{ID: "dev_1", UserID: "us_1", AuthUsername: "1001", Realm: "a.example", Status: brain.StatusActive}},
	}
	for _, name := range []string{"a", "b"} {
		rows.Trunks = append(rows.Trunks, brain.SIPTrunk{ID: "trk_" + name, Name: name, Status: brain.StatusActive, Direction: brain.TrunkOutbound, Proxy: name + ".example"})
	}
	choices := []brain.OutboundChoice{{TrunkID: "trk_a", Priority: 1}, {TrunkID: "trk_b", Priority: 1}}
	for i := range routes {
		prefix := "49"
		if i > 0 {
			prefix = fmt.Sprintf("4930%06d", i)
		}
		rows.Routes = append(rows.Routes, brain.OutboundRoute{ID: fmt.Sprint("route_", i), Name: prefix, Status: brain.StatusActive, MatchPrefix: prefix, Strategy: "priority", Trunks: choices})
	}
	return rows
}
