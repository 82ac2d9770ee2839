package flow

import (
	"cmp"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

func TestTransfer_PartsWhoTalk(t *testing.T) {
	// Proves what is ordered of FreeSWITCH in each state of a call: the leg that the caller was connected to last is hung up when it is
	// there, of a call with a runner as of one that goes on without; nobody is parted who has nobody, or another one than who transfers
	// by his own key, and the caller's own channel is never touched.
	for name, row := range map[string]struct {
		token, leg, exists string
		begun, legID       string
		kill, want         string
		orphan             bool
	}{
		"he talks":                {token: "tok", leg: "leg-r1-a", exists: "true", kill: "uuid_kill leg-r1-a NORMAL_CLEARING"},
		"without a runner":        {token: "tok", leg: "leg-r1-a", exists: "true", kill: "uuid_kill leg-r1-a NORMAL_CLEARING", orphan: true},
		"the other side has gone": {token: "tok", leg: "leg-r1-a", exists: "false"},
		"nobody answered yet":     {token: "tok", want: api.NobodyTalks},
		"not in this command":     {token: "tok", begun: "6", leg: "leg-r0-a", exists: "true", want: api.NobodyTalks},
		"in a later command":      {token: "tok", begun: "8", leg: "leg-r2-a", exists: "true"},
		"that leg":                {token: "tok", legID: "leg@x", leg: "leg-r1-a", exists: "true", kill: "uuid_kill leg-r1-a NORMAL_CLEARING"},
		"another leg":             {token: "tok", legID: "asked@x", leg: "leg-r1-a", exists: "true", want: api.NobodyTalks},
		"another call":            {token: "other", leg: "leg-r1-a", exists: "true", want: "no such call"},
		"no call":                 {leg: "leg-r1-a", exists: "true", want: "no such call"},
	} {
		n := newNode(t)
		n.fs.vars[markVariable] = cmp.Or(row.begun, "7")
		if row.orphan {
			n.orphans["chan-1"] = orphan{token: "tok"}
		} else {
			n.live["chan-1"] = &call{uuid: "chan-1", token: "tok"}
		}
		if row.leg != "" {
			n.fs.vars[lastBridgeTo] = row.leg
		}
		n.fs.vars["sip_call_id"] = "leg@x"
		n.fs.set("uuid_exists", row.exists)
		n.fs.set("uuid_kill", "+OK")
		_, err := n.Transfer(t.Context(), api.Op{Token: row.token, Seq: 7, LegID: row.legID})
		if err != nil && !strings.Contains(err.Error(), row.want) || (err == nil) != (row.want == "") {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
		if o := n.fs.orders(); strings.Contains(o, "uuid_kill") != (row.kill != "") || !strings.Contains(o, row.kill) {
			t.Errorf("%s: ordered\n%s", name, o)
		}
	}
}

func TestTransfer_ADialAfterATalkBringsTheMediaBack(t *testing.T) {
	// Proves that a caller who has talked to somebody hears a moment of silence before he is connected again, which brings media back
	// that went past the media server, and that nobody else does.
	for talkedTo, want := range map[string]bool{"leg-r1-a": true, "": false} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u_1"}))
			n.fs.lasts["bridge"] = 0
			if talkedTo != "" {
				n.fs.vars[lastBridgeTo] = talkedTo
			}
			n.run(nil)
			before, _, dialed := strings.Cut(n.fs.orders(), "\nbridge ")
			if !dialed || strings.Contains(before, aMoment) != want {
				t.Errorf("after %q:\n%s", talkedTo, n.fs.orders())
			}
		})
	}
}
