package presence

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/sipio/sipio/brain/acd"
)

// What a machine of acc_1 wrote before there were queues: a snapshot, the ops that led to it, and those that followed.
// The phones a and b of u1 are registered, u2 is in a call, u1, u3 and u4 had said what they want as agents. Then u1 goes
// on a break, a's registration runs out, and the place of the call is given back.
var (
	agentsSnapshot = "01056163635f31c0a9070303000a050275310308026e31000117027431026331026e31a08d06c0a9070003000a0103020000001304313030310431303032027532027532a09c01" +
		"00023f157369703a313030314061636d652e6578616d706c650161026e31027531026431093139322e302e322e37037564700970686f6e652f312e30a09c01e0c50840157369703a31303031" +
		"4061636d652e6578616d706c650162026e31027531026432093139322e302e322e37037564700970686f6e652f312e30a09c01a0d6b803000302753109617661696c61626c6500c0a9070002" +
		"7533086f6e5f627265616b056c756e6368c0a90700027534076f66666c696e6500c0a907c0a907"
	agentsBefore = []logged{
		{60_000, unhex("01027431026331026e3104313030310431303032027532027532a08d060003030014050275310608026e310000")},
		{60_000, unhex("02026e31035500a09c0178000d636f6e746163742e7361766564056163635f31157369703a313030314061636d652e6578616d706c650161093139322e302e322e37037564700970686f6e" +
			"652f312e3000000000027531026431005600a09c01a038000d636f6e746163742e7361766564056163635f31157369703a313030314061636d652e6578616d706c650162093139322e302e322e" +
			"37037564700970686f6e652f312e3000000000027531026432002900a09c0100000c6469616c6f672e7374617274056163635f3100000000000263310274310000000000")},
		{60_000, unhex("0402753109617661696c61626c6500c0a907")},
		{60_000, unhex("04027533086f6e5f627265616b056c756e6368c0a907")},
		{60_000, unhex("04027534076f66666c696e6500c0a907")},
	}
	agentsAfter = []logged{
		{60_001, unhex("04027531086f6e5f627265616b056c756e6368c2a907")},
		{71_000, unhex("0500")},
		{72_000, unhex("0305726573657401027431")},
	}
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// replay applies a journal.
func replay(t *testing.T, m *Machine, journal []logged) {
	t.Helper()
	for _, l := range journal {
		do(t, m, l.at, l.op)
		check(t, m)
	}
}

// Proves that a journal written before there were queues is read, from its snapshot on and from its beginning, and that
// both make the same machine: contacts and calls as they were, nobody an agent. Cut anywhere, the snapshot is refused.
func TestMachine_ReadsAJournalFromBeforeQueues(t *testing.T) {
	restored, err := Restore("acc_1", unhex(agentsSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	check(t, restored)
	fresh := New("acc_1")
	replay(t, fresh, agentsBefore)
	for _, step := range []struct {
		journal []logged
		want    string
	}{{nil, "a@n1 until 70, b@n1 until 3610, call c1@n1 since 10"}, {agentsAfter, "b@n1 until 3610"}} {
		replay(t, restored, step.journal)
		replay(t, fresh, step.journal)
		if got := state(restored); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
		if !bytes.Equal(restored.AppendSnapshot(nil), fresh.AppendSnapshot(nil)) {
			t.Error("from the snapshot on and from the beginning are not the same")
		}
		if _, err := Restore("acc_1", restored.AppendSnapshot(nil)); err != nil {
			t.Errorf("written anew: %v", err)
		}
	}
	snapshot := unhex(agentsSnapshot)
	for i := range snapshot {
		if _, err := Restore("acc_1", snapshot[:i]); err == nil {
			t.Errorf("cut at byte %d: taken", i)
		}
	}
	if _, err := Restore("acc_1", append(bytes.Clone(snapshot), 0)); err == nil {
		t.Error("with a byte more: taken")
	}
}

// Proves that the queues which an account gets later know the phones of a snapshot from before them: whoever logs in is
// offered a caller at once, unless a call of its own is up.
func TestMachine_QueuesKnowThePhonesOfASnapshotFromBefore(t *testing.T) {
	m, err := Restore("acc_1", unhex(agentsSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	m.Resume(nowMS)
	do(t, m, nowMS, AppendACD(nil, acd.AppendSetup(nil, helpDesk)))
	act(t, m, nowMS, "u1", acd.ActionLogin)
	act(t, m, nowMS, "u2", acd.ActionLogin)
	if j := join(t, m, nowMS, "e1"); len(j.Offers) != 1 || j.Offers[0].UserID != "u1" {
		t.Errorf("%+v", j)
	}
	if u := m.show("u2"); u.Calls == 0 || u.Reachable {
		t.Errorf("%+v", u)
	}
}
