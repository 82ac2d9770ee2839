package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
)

// kontor has a trunk that registers at %s; %s and %s are the SIP addresses of the two nodes.
const kontor = `
kind: account
name: kontor
spec: {timezone: Europe/Berlin, country: DE, default_cid_number: "4930900100"}
---
{kind: sip_domain, account: kontor, name: kontor.test, spec: {is_primary: true}}
---
{kind: sip_user, account: kontor, name: "2001", spec: {display_name: Karla}}
---
{kind: sip_device, account: kontor, name: 2001@kontor.test, spec: {user_id: "2001", password: secret-2001}}
---
{kind: secret, account: kontor, name: carrier, spec: {value: wide-open-%%}}
---
kind: sip_trunk
account: kontor
name: carrier
spec: {direction: both, inbound_acl: ["10.9.0.40"], proxy: %q, do_register: true, expire_sec: 60, auth_username: "4930900", auth_secret_ref: carrier,
  from_domain: carrier.test, realm: carrier.test, options_ping_sec: 1}
---
{kind: outbound_route, account: kontor, name: all, spec: {trunks: [{trunk_id: carrier}]}}
---
{kind: did, account: kontor, name: "4930900100", spec: {dest_kind: user, dest_id: "2001"}}
---
{kind: node, name: node-1, spec: {sip_addresses: [%q]}}
---
{kind: node, name: node-2, spec: {sip_addresses: [%q]}}
`

// Each node, the carrier and the phones live in network namespaces of their own. Of the two nodes one registers at the
// carrier, with the digest that the brain computes, and both ping it from the address of their own Kamailio. Agent and
// Kamailio of the node that registered are killed: within 5 s the other has registered, and at no moment does the carrier
// list two Contacts. A caller from the carrier reaches the phone through the registered node before and after, and both
// hear each other; so does a phone that calls outside over the trunk, by either node. When the killed node is back it
// leaves the registration where it is.
func TestTrunk_RegistrationMovesToAnotherNode(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	lan := netns.NewBridge(t, guardIP+"/24")
	beside, second := lan.Join(t, trunkIP+"/24"), lan.Join(t, secondIP+"/24")
	atCarrier, atOffice := inside(beside, trunkIP), inside(lan.Join(t, "10.9.0.50/24"), "10.9.0.50")
	carrier := startRegistrar(t, beside, trunkIP, "4930900", "wide-open-%")
	outside := newCarrier(t, "carrier", atCarrier)
	carrier.takes(t, outside)
	fast := []string{"--heartbeat-interval=500ms"}
	one := start(t, edge.Options{IP: guardIP, NodeFlags: fast, LogDecisions: true})
	netns.Relay(t, second, nil, strings.TrimPrefix(one.BrainURL, "http://"))
	two := start(t, edge.Options{IP: secondIP, Name: "node-2", NetNS: second, NodeFlags: fast, BrainURLs: []string{one.BrainURL}, BrainKey: one.AdminKey})
	ctx := within(t, 90*time.Second)
	if err := one.Apply(ctx, fmt.Sprintf(kontor, carrier.addr(), one.SIP, two.SIP)); err != nil {
		t.Fatal(err)
	}
	nodes := map[string]*edge.Edge{"sip:4930900@" + one.SIP: one, "sip:4930900@" + two.SIP: two}
	var holder string
	eventually(t, ctx, "a registration", func() error {
		holder, _ = carrier.bound()
		if nodes[holder] == nil {
			return fmt.Errorf("registered: %q", holder)
		}
		return nil
	})
	eventually(t, ctx, "both nodes to say that the trunk is up, and who has registered", func() error {
		st, err := trunkState(ctx, one)
		if err == nil && (len(st.Nodes) != 2 || slices.ContainsFunc(st.Nodes, func(n api.TrunkNode) bool { return n.State != api.TrunkUp }) ||
			st.Registration == nil || st.Registration.Contact != holder || st.Registration.Target != carrier.addr()) {
			err = fmt.Errorf("%+v", st)
		}
		return err
	})
	carrier.mu.Lock()
	if carrier.options[one.SIP] == 0 || carrier.options[two.SIP] == 0 || len(carrier.options) != 2 {
		t.Errorf("OPTIONS came from %v, want %s and %s", carrier.options, one.SIP, two.SIP)
	}
	carrier.mu.Unlock()
	fromCarrier(t, nodes[holder], holder, atCarrier, atOffice)
	toCarrier(t, outside, atOffice, one, two)

	killed := nodes[holder]
	if err := errors.Join(killed.Node.Kill(), killed.Kamailio.Kill()); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	next := ""
	for next == "" || next == holder {
		if next, _ = carrier.bound(); time.Since(died) > 20*time.Second {
			t.Fatalf("20 s after the holder's end %q is registered\n%s", next, one.Tails(10))
		}
		time.Sleep(5 * time.Millisecond) // sleep: the moment is measured
	}
	if took := time.Since(died); took > 5*time.Second || nodes[next] == nil {
		t.Errorf("%s registered %v after the holder's end", next, took)
	}
	fromCarrier(t, nodes[next], next, atCarrier, atOffice)
	toCarrier(t, outside, atOffice, nodes[next])
	if err := errors.Join(killed.StartKamailio(ctx), killed.StartNode(ctx)); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the node that came back to tell of the trunk", func() error {
		st, err := trunkState(ctx, one)
		if err == nil && slices.ContainsFunc(st.Nodes, func(n api.TrunkNode) bool { return n.State != api.TrunkUp || n.AgeMS > 2000 }) {
			err = fmt.Errorf("%+v", st.Nodes)
		}
		return err
	})
	toCarrier(t, outside, atOffice, killed)
	contacts, most := carrier.bound()
	if contacts != next || most != 1 {
		t.Errorf("registered: %s, at most %d at a time; %s", contacts, most, strings.Join(carrier.history, " | "))
	}
}

// trunkState is what the brain says of the one trunk of kontor.
func trunkState(ctx context.Context, e *edge.Edge) (api.TrunkState, error) {
	id, err := e.AccountID(ctx, "kontor")
	if err != nil {
		return api.TrunkState{}, err
	}
	raw, err := e.Request(ctx, "GET", api.PathTrunks+"?account_id="+id, "", nil)
	if err != nil {
		return api.TrunkState{}, err
	}
	var list api.TrunkList
	if err := json.Unmarshal(raw, &list); err != nil {
		return api.TrunkState{}, err
	}
	if len(list.Trunks) != 1 {
		return api.TrunkState{}, errors.New("no trunk")
	}
	return list.Trunks[0], nil
}

// fromCarrier calls the number of kontor at the node that has registered a Contact, and holds a talk: as a registrar does, which calls that
// Contact and has the number in To or in P-Called-Party-ID, and as one that writes the number over the Contact's user.
func fromCarrier(t *testing.T, e *edge.Edge, contact string, atCarrier, atOffice option) {
	t.Helper()
	if err := e.WaitTrunk(trunkIP, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	karla := registered(t, e, "2001", realm("kontor.test"), atOffice)
	ctx := within(t, 30*time.Second)
	caller := newPhone(t, e, "030123456", realm("carrier.test"), atCarrier)
	for _, c := range []struct {
		target string
		opts   []phone.CallOption
	}{
		{contact, []phone.CallOption{phone.WithTo("sip:4930900100@carrier.test")}},
		{contact, []phone.CallOption{phone.WithHeader("P-Called-Party-ID", "<sip:+4930900100@carrier.test;user=phone>")}},
		{"4930900100", nil},
	} {
		a, b := connect(t, ctx, caller, karla, c.target, c.opts...)
		talk(t, ctx, a, b)
		hangUp(t, ctx, e, a, b)
	}
}

// toCarrier calls outside from a phone at each node, and holds a talk.
func toCarrier(t *testing.T, outside *carrier, atOffice option, nodes ...*edge.Edge) {
	t.Helper()
	for _, e := range nodes {
		karla := registered(t, e, "2001", realm("kontor.test"), atOffice)
		ctx := within(t, 30*time.Second)
		outside.now(rings)
		a, err := karla.Call(ctx, "0301234567")
		if err != nil {
			t.Fatalf("call outside by %s: %v\n%s", e.SIP, err, e.Tails(10))
		}
		b := outsider(t, ctx, outside)
		showing(t, outside, "+49301234567", "+4930900100", nil)
		talk(t, ctx, a, b)
		hangUp(t, ctx, e, a, b)
	}
}
