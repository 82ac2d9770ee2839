package ban

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Numbers of the kernel's interface (linux/netfilter/nf_tables.h, linux/netfilter.h, RFC 5237).
const (
	dynsetAdd, dynsetUpdate = 0, 1
	nfprotoV4, nfprotoV6    = 2, 10
	protoTCP, protoUDP      = 6, 17
)

// make builds the table in one transaction, with what stays of its former self. What it does, for each version of IP:
//
//	chain ingress { type filter hook prerouting priority -300
//	  iifname "lo" accept
//	  meta l4proto udp th dport 30000-39999 update @rtp { th dport limit rate over 1000/second burst 200 packets } counter drop
//	  meta nfproto ipv4 meta l4proto udp th dport @ports goto guard4   (and tcp)
//	}
//	chain guard4 {
//	  ip saddr @protect4 accept
//	  ip saddr @ban4 counter drop
//	  update @flood4 { ip saddr limit rate over 200/second burst 400 packets } goto excess4
//	  meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn goto open4
//	}
//	chain open4 {
//	  ip saddr @crowd4 counter name "refused" drop
//	  ip saddr @known4 accept
//	  th dport @shut counter name "refused" drop
//	}
//	chain excess4 {
//	  ip saddr @grace4 counter drop
//	  ip saddr @known4 counter drop
//	  add @caught4 { ip saddr }
//	  add @ban4 { ip saddr }
//	  counter drop
//	}
func (t *Table) make(old map[string][]nftables.SetElement) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.AddTable(t.table) // so that it is surely there to be deleted
	t.conn.DelTable(t.table)
	t.conn.AddTable(t.table)
	accept := nftables.ChainPolicyAccept
	ingress := t.conn.AddChain(&nftables.Chain{
		Table: t.table, Name: "ingress", Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-300),
	})
	guarded := &nftables.Set{Table: t.table, Name: "ports", KeyType: nftables.TypeInetService}
	if err := errors.Join(t.conn.AddSet(guarded, t.guarded()), t.conn.AddSet(t.shut, nil), t.conn.AddSet(t.rtp, nil)); err != nil {
		return err
	}
	t.conn.AddObj(t.refused)
	t.rule(ingress, metaIs(expr.MetaKeyIIFNAME, []byte("lo\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")), verdict(expr.VerdictAccept))
	if t.media != (PortRange{}) {
		t.rule(ingress, metaIs(expr.MetaKeyL4PROTO, []byte{protoUDP}), port(), within(t.media), meter(t.rtp, RTPRate, RTPBurst), dropped())
	}
	for _, f := range []family{t.v4, t.v6} {
		if err := t.makeFamily(f, old); err != nil {
			return err
		}
		for _, proto := range []byte{protoUDP, protoTCP} {
			t.rule(ingress, metaIs(expr.MetaKeyNFPROTO, []byte{f.nfproto()}), metaIs(expr.MetaKeyL4PROTO, []byte{proto}),
				port(), in(guarded),
				[]expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: f.name("guard")}})
		}
	}
	return t.conn.Flush()
}

// guarded are the ports as a set has them.
func (t *Table) guarded() (elements []nftables.SetElement) {
	for _, p := range slices.Compact(slices.Sorted(slices.Values(t.ports))) {
		elements = append(elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, p)})
	}
	return elements
}

// makeFamily adds the sets and chains of one version of IP.
func (t *Table) makeFamily(f family, old map[string][]nftables.SetElement) error {
	for _, set := range f.sets() {
		if err := t.conn.AddSet(set, nil); err != nil {
			return err
		}
	}
	if err := t.add(f.protect, intervals(f.version, nil)); err != nil {
		return err
	}
	for _, set := range f.staying() {
		if err := t.add(set, old[set.Name]); err != nil {
			return err
		}
	}
	guard := t.conn.AddChain(&nftables.Chain{Table: t.table, Name: f.name("guard")})
	excess := t.conn.AddChain(&nftables.Chain{Table: t.table, Name: f.name("excess")})
	drop := dropped()
	t.rule(guard, f.address(), in(f.protect), verdict(expr.VerdictAccept))
	t.rule(guard, f.source(), in(f.ban), drop)
	t.rule(guard, f.source(), meter(f.flood, FloodRate, FloodBurst), []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: excess.Name}})
	t.makeDoor(f, guard)
	t.rule(excess, f.source(), in(f.grace), drop)
	t.rule(excess, f.source(), in(f.known), drop)
	t.rule(excess, f.source(), into(f.caught))
	t.rule(excess, f.source(), into(f.ban))
	t.rule(excess, drop)
	return nil
}

func (f family) name(part string) string { return part + string(rune('0'+f.version)) }

func (f family) nfproto() byte {
	if f.version == 4 {
		return nfprotoV4
	}
	return nfprotoV6
}

// address loads the sender of a packet.
func (f family) address() []expr.Any {
	if f.version == 4 {
		return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}}
	}
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 16}}
}

// source loads what the sender of a packet is banned as: see Of.
func (f family) source() []expr.Any {
	if f.version == 4 {
		return f.address()
	}
	mask := make([]byte, 16)
	copy(mask, "\xff\xff\xff\xff\xff\xff\xff\xff")
	return append(f.address(), &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 16, Mask: mask, Xor: make([]byte, 16)})
}

func (t *Table) rule(chain *nftables.Chain, parts ...[]expr.Any) {
	t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: slices.Concat(parts...)})
}

func metaIs(what expr.MetaKey, is []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: what, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: is}}
}

// in goes on when what is loaded is in a set.
func in(set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}}
}

// into puts what is loaded into a set.
func into(set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Dynset{SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: dynsetAdd}}
}

// meter goes on when what is loaded is beyond the limit of so many packets a second.
func meter(set *nftables.Set, rate uint64, burst uint32) []expr.Any {
	return []expr.Any{&expr.Dynset{SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: dynsetUpdate,
		Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Over: true, Unit: expr.LimitTimeSecond, Burst: burst}}}}
}

// port loads where a packet goes to.
func port() []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
}

// within goes on when the port that is loaded is in a range.
func within(r PortRange) []expr.Any {
	return []expr.Any{&expr.Range{Op: expr.CmpOpEq, Register: 1,
		FromData: binary.BigEndian.AppendUint16(nil, r.First), ToData: binary.BigEndian.AppendUint16(nil, r.Last)}}
}

// dropped counts and drops.
func dropped() []expr.Any {
	return slices.Concat([]expr.Any{&expr.Counter{}}, verdict(expr.VerdictDrop))
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
