package controller

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// orders makes a node that passes on the orders of the guard that it gets, and does what they say.
func (r *running) orders(t *testing.T, name string) chan api.GuardOrder {
	t.Helper()
	told := make(chan api.GuardOrder, 16)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var op api.Op
		if err := json.NewDecoder(req.Body).Decode(&op); err != nil || op.Kind != api.OpBan || op.Guard == nil {
			t.Errorf("the node was told %+v, %v", op, err)
		} else {
			told <- *op.Guard
		}
		_ = json.NewEncoder(w).Encode(api.OpReply{ID: op.ID, OK: true})
	}))
	t.Cleanup(node.Close)
	r.create(t, "/v1/nodes", `{"name":"`+name+`","agent_url":"`+node.URL+`","sip_addresses":["203.0.113.`+name[4:]+`:5060"]}`)
	return told
}

func next(t *testing.T, told chan api.GuardOrder) api.GuardOrder {
	t.Helper()
	select {
	case o := <-told:
		return o
	case <-time.After(10 * time.Second):
		t.Fatal("the node is told nothing")
	}
	return api.GuardOrder{}
}

func (r *running) reported(t *testing.T, g api.GuardReport) (reply api.GuardReply) {
	t.Helper()
	r.post(t, api.PathSecurityReport, g, &reply)
	return reply
}

// audited waits until the audit log has it all.
func (r *running) audited(t *testing.T, want ...string) {
	t.Helper()
	var audit json.RawMessage
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		r.call(t, "GET", "/v1/audit", "", "", &audit)
		if !slices.ContainsFunc(want, func(s string) bool { return !strings.Contains(string(audit), s) }) {
			return
		}
	}
	t.Errorf("the audit log has no %q: %s", want, audit)
}

func scanner(addr string) api.Offence {
	now := time.Now().UnixMilli()
	return api.Offence{Addr: addr, Tier: api.TierUA, Kind: api.OffenceScanner, Count: 1, TimeMS: now, UntilMS: now + 3_600_000, Evidence: "friendly-scanner"}
}

// Proves the guard over the network and the real journal: what one node catches the other is told, a trunk and a node are lifted, the ban
// is there after a restart, a lift is confirmed by both nodes and stands in the audit log, and the policy has what is protected.
func TestRun_Guards(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "signatures")
	if err := os.WriteFile(file, []byte("Evil-Dialer # ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(c *Config) { c.GuardSignaturesFile = file }
	r := start(t, dir, set)
	first, second := r.orders(t, "edge1"), r.orders(t, "edge2")
	account, _ := r.furnish(t)
	r.create(t, "/v1/sip_trunks?account_id="+account, `{"name":"carrier","direction":"both","proxy":"192.0.2.9:5060","inbound_acl":["192.0.2.9"]}`)
	got := r.reported(t, api.GuardReport{Node: "edge1", Offences: []api.Offence{scanner("192.0.2.77"), scanner("192.0.2.9"), scanner("203.0.113.2")}})
	if len(got.Orders) != 3 || got.Orders[0].Action != api.GuardBan || got.Orders[1].Action != api.GuardLift || got.Orders[2].Action != api.GuardLift {
		t.Errorf("edge1 is to do %+v", got.Orders)
	}
	if p := got.Policy; p == nil || !strings.Contains(strings.Join(p.Protected, " "), "192.0.2.9/32 203.0.113.1/32 203.0.113.2/32") || !strings.Contains(strings.Join(p.Signatures, " "), "evil-dialer") {
		t.Errorf("policy: %+v", p)
	}
	if o := next(t, second); o.Action != api.GuardBan || o.Addr != "192.0.2.77" || o.UntilMS < time.Now().UnixMilli()+3_000_000 {
		t.Errorf("edge2 is told %+v", o)
	}
	r.audited(t, `"action":"ban.begin"`, `tier ua, until`)
	believed := digest("REGISTER", "1001", "secret-1001")
	believed.Set("source_ip", "192.0.2.78")
	r.ask(t, api.PathAuth, believed, &api.AuthReply{})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // until the guard has heard
		var of api.BanList
		if r.call(t, "GET", api.PathSecurityBans+"?addr=192.0.2.78", "", "", &of); of.About != nil && of.About.Protected != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the address of a device that was believed is not known")
		}
	}
	if known := r.reported(t, api.GuardReport{Node: "edge2", Offences: []api.Offence{scanner("192.0.2.78")}}); len(known.Orders) != 1 || known.Orders[0].Action != api.GuardLift {
		t.Errorf("of an address that another node knows: %+v", known.Orders)
	}
	r.stop()
	r.wait(t)
	r = start(t, dir, set)
	again := r.reported(t, api.GuardReport{Node: "edge1", PolicyVersion: got.Policy.Version, Complete: true})
	if again.Policy != nil || len(again.Orders) != 1 || again.Orders[0].Addr != "192.0.2.77" {
		t.Errorf("after a restart: %+v", again)
	}
	var list api.BanList
	if status := r.call(t, "GET", api.PathSecurityBans, "", "", &list); status != 200 || list.Total != 1 || list.Bans[0].Evidence != "friendly-scanner" || list.Bans[0].Node != "edge1" {
		t.Fatalf("%d %+v", status, list)
	}
	var lifted api.BanReply
	if status := r.call(t, "DELETE", api.PathSecurityBans+"?addr=192.0.2.77", "", "", &lifted); status != 200 || len(lifted.Nodes) != 2 || !lifted.Nodes[0].OK || !lifted.Nodes[1].OK {
		t.Fatalf("%d %+v", status, lifted)
	}
	for _, told := range []chan api.GuardOrder{first, second} {
		if o := next(t, told); o.Action != api.GuardLift || o.GraceSec != 60 {
			t.Errorf("the lift: %+v", o)
		}
	}
	if spared := r.reported(t, api.GuardReport{Node: "edge2", Offences: []api.Offence{scanner("192.0.2.77")}}); len(spared.Orders) != 1 || spared.Orders[0].Action != api.GuardLift {
		t.Errorf("in its grace: %+v", spared.Orders)
	}
	if status := r.call(t, "POST", api.PathSecurityBans, "application/json", `{"addr":"192.0.2.9","for_sec":60,"why":"test"}`, nil); status != 409 {
		t.Errorf("a trunk banned by hand: %d", status)
	}
	var audit json.RawMessage
	if status := r.call(t, "GET", "/v1/audit", "", "", &audit); status != 200 || !strings.Contains(string(audit), `"action":"ban.lift"`) || !strings.Contains(string(audit), `"object":"192.0.2.77"`) {
		t.Errorf("%d %s", status, audit)
	}
}
