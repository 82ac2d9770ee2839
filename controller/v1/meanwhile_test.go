package v1_test

import (
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a PATCH laid over a resource that another brain changes in between loses neither change,
// that it is given up when that never ends, and that a conflict of another kind is told at once.
func TestChange_KeepsWhatAnotherBrainChangedMeanwhile(t *testing.T) {
	b := newBench(t)
	one := b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1001"}`).header.Get("Location")
	b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1002"}`)
	id := one[len("/v1/sip_users/"):]
	times, left := 0, 1
	b.meanwhile = func() {
		if times++; left > 0 {
			left--
			other := *b.rows[id].(*brain.SIPUser)
			other.RingTimeoutSec++
			b.rows[id] = &other
		}
	}
	u := b.want(200, tokenAcme, "PATCH", one, `{"dnd":true}`).body
	if u["dnd"] != true || u["ring_timeout_sec"] != 26.0 || times != 2 {
		t.Errorf("after both, in %d attempts: %v", times, u)
	}
	times, left = 0, 1000
	b.want(409, tokenAcme, "PATCH", one, `{"dnd":false}`)
	if times != 10 {
		t.Errorf("%d attempts", times)
	}
	times, left = 0, 0
	b.want(409, tokenAcme, "PATCH", one, `{"username":"1002"}`)
	if times != 1 {
		t.Errorf("a taken name was tried %d times", times)
	}
}
