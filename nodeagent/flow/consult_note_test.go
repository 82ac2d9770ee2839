package flow

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Proves that a note reads as it was written, and that nothing else is taken for one.
func TestConsultNote(t *testing.T) {
	note := consultNote{seq: 3, leg: "leg-1", asked: "ask-1", kind: "number", id: "+49301", by: "us_1", music: platformMusic}
	if got, ok := parseConsult(note.String()); !ok || got != note {
		t.Errorf("%+v %v", got, ok)
	}
	for _, text := range []string{"", "1", "x|leg|ask-1|user|u|us|m", "1|leg|leg-2|user|u|us|m", "1|leg|ask-1|user||us|m", "1|leg|ask-1|user|u|us|m|n", "1|leg|ask-1|us er|u|us|m"} {
		if got, ok := parseConsult(text); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// Proves that it is told once, for a while and to the same request alone that somebody has gone.
func TestConsult_ToldOnceThatHeHasGone(t *testing.T) {
	for name, do := range map[string]func(n *queueNode){
		"once": func(n *queueNode) {
			n.wantConsult(api.OpConsult, "", api.AskedGone)
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
		},
		"for a while": func(n *queueNode) {
			time.Sleep(goneFor)
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
		},
		"not in a later talk": func(n *queueNode) {
			note := consultNote{seq: 2, kind: "user", id: "u_2", by: "us_1"}
			if n.hasJustGone("chan-1", note) {
				n.t.Error("it is told in a later talk")
			}
			if note.seq = 1; !n.hasJustGone("chan-1", note) {
				n.t.Error("it is not told in that talk")
			}
		},
		"not of somebody else": func(n *queueNode) {
			if state, err := n.consultTo(api.OpConsult, "u_3"); err != nil || state != api.ConsultRinging {
				n.t.Errorf("somebody else: %s %v", state, err)
			}
			n.wantConsult(api.OpReturn, "", "")
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				n.talks(func() {
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					p := g.one()
					p.answers()
					synctest.Wait()
					p.hangsUp()
					time.Sleep(lookEvery)
					synctest.Wait()
					do(n)
				})
			})
		})
	}
}

// Proves that one who has just gone, and of whom nobody here has heard, is told to have gone, and not to ring.
func TestConsult_HasJustGone(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": 0, "of the agent before": time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				n.talks(func() {
					if after > 0 { // the note alone is there
						leg := n.agent("r1").uuid
						n.fs.variable(consultVariable, consultNote{seq: 1, leg: leg, asked: "ask-1", kind: "user", id: "u_2", by: "us_1", music: "/cache/hold.wav"}.String())
					} else {
						n.wantConsult(api.OpConsult, api.ConsultRinging, "")
						p := g.one()
						p.answers()
						synctest.Wait()
						p.hangsUp()
					}
					n.wantConsult(api.OpConsult, "", api.AskedGone)
					n.wantHeld(false, false)
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
				})
			})
		})
	}
}
