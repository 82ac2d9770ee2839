package presence

import (
	"bytes"
	"testing"

	"github.com/sipio/sipio/brain/cac"
)

// What a machine of acc_1 wrote before calls could swap their places: a snapshot, and the ops that led to it. t1 is answered
// and holds a channel of trk_a, t2 is an emergency call, t3 was released; the account has a queue.
var (
	queuesSnapshot = "02056163635f31c0a9070302000a0502753103070574726b5f61020217027431026331026e31a08d06c0a9070003000a0103020217027432026332026e31a08d06c0a9070103000a01030202" +
		"01027433c0a90700010a0574726b5f61d00f02c0a90700140431303031073439333031323302753100c0a9071204313030310734393330313233027531000000013d157369703a3130303140" +
		"61636d652e6578616d706c650161026e310000093139322e302e322e37037564700970686f6e652f312e3080dac409c083cc0900ea010402c0a9070000012f0271310468656c700c6c6f6e67" +
		"6573745f69646c65c0b8020000000100c0a907000000c0b8020000000000000000000338027530010100010271310200067374617469630000076f66666c696e65000777616974696e670000" +
		"000000000000000000c0a907c0a9070038027531010100010271310200067374617469630000076f66666c696e65000777616974696e670000000200000000000000c0a907c0a90700380275" +
		"32010100010271310200067374617469630000076f66666c696e65000777616974696e670000000000000000000000c0a907c0a90700000000000000"
	queuesBefore = []logged{
		{60_000, unhex("01027431026331026e310431303031073439333031323302753100a08d0600030200140502753106070574726b5f6104010a0574726b5f610ad00f01")},
		{60_000, unhex("01027432026332026e310431303031073439333031323302753100a08d0601030200140502753106070574726b5f6104010a0574726b5f610ad00f01")},
		{60_000, unhex("02026e3102520080dac40978000d636f6e746163742e7361766564056163635f31157369703a313030314061636d652e6578616d706c650161093139322e302e322e37037564700970686f6e" +
			"652f312e30000000000000002400c0a90700000c6469616c6f672e73746172740000000000000263310274310000000000")},
		{60_000, unhex("0305726573657401027433")},
		{60_000, unhex("070102012c0271310468656c700c6c6f6e676573745f69646c65c0b8020000000100c0a907000000c0b802000000000000031302753001010001027131020006737461746963130275310101" +
			"00010271310200067374617469631302753201010001027131020006737461746963")},
	}
)

// Proves that a journal written before there were swaps is read, from its snapshot on and from its beginning, and that both
// make the same machine; that a call of then swaps, with everything known of it as it was; and that the snapshot cut
// anywhere is refused.
func TestMachine_ReadsAJournalFromBeforeSwaps(t *testing.T) {
	restored, err := Restore("acc_1", unhex(queuesSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	fresh := New("acc_1")
	replay(t, fresh, queuesBefore)
	swap := AppendSwap(nil, &cac.Swap{Token: "t1", Attempt: 1, Drop: []cac.Take{{Kind: cac.Trunk, ID: "trk_a"}}, Add: []cac.Take{{Kind: cac.Trunk, ID: "trk_b", Limit: 1}}})
	for _, m := range []*Machine{restored, fresh} {
		check(t, m)
		if got := state(m); got != "a@n1 until 10060, call c1@n1 since 60" {
			t.Error(got)
		}
		before := *m.live["t1"]
		if _, changed := do(t, m, 60_001, swap); !changed || *m.live["t1"] != before {
			t.Errorf("changed %v, the call is %+v", changed, *m.live["t1"])
		}
		check(t, m)
	}
	data := restored.AppendSnapshot(nil)
	if !bytes.Equal(data, fresh.AppendSnapshot(nil)) {
		t.Error("from the snapshot on and from the beginning are not the same")
	}
	again, err := Restore("acc_1", data)
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := again.ledger.Slot("t1"); s.Attempt != 1 || s.Takes[2].ID != "trk_b" {
		t.Errorf("%+v", s)
	}
	snapshot := unhex(queuesSnapshot)
	for i := range snapshot {
		if _, err := Restore("acc_1", snapshot[:i]); err == nil {
			t.Errorf("cut at byte %d: taken", i)
		}
	}
}

// Proves that a swap tells of the soft windows it was beyond, once, and changes no signal of a user.
func TestSwap_TellsOfSoftWindows(t *testing.T) {
	m := New("acc_1")
	m.Watch(true)
	a := admission("t1", "c1", "n1")
	do(t, m, nowMS, AppendAdmit(nil, &a))
	m.Deltas()
	w := []cac.Window{{Kind: cac.Limit, ID: "lim_1", Max: 1, PeriodMS: 60_000}}
	for i, want := range []int{0, 1, 0} {
		reply, changed := do(t, m, nowMS, AppendSwap(nil, &cac.Swap{Token: "t1", Attempt: min(i+1, 2), Windows: w}))
		v, err := ReadVerdict(reply)
		if deltas := m.Deltas(); err != nil || !v.Admitted || v.Repeated == changed || v.Repeated != (i == 2) || len(deltas) != want || want > 0 && deltas[0].LimitID != "lim_1" {
			t.Errorf("swap %d: %+v %v, told %+v", i, v, err, deltas)
		}
	}
}
