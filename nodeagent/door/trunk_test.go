package door

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// told keeps the bodies that a brain was asked with.
type told struct {
	fakeBrain
	mu     sync.Mutex
	bodies []url.Values
}

func (f *told) ask(x *exchange) (answer, error) {
	values, err := url.ParseQuery(string(x.body))
	if err != nil {
		return answer{}, err
	}
	f.mu.Lock()
	f.bodies = append(f.bodies, values)
	f.mu.Unlock()
	return f.fakeBrain.ask(x)
}

// Proves that every question about a call carries what the node knows of trunks, in place of what the edge may have put
// there, and that other questions do not; a repeated question stays one although the node knows something else by then.
func TestDoor_TellsOfTrunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &told{fakeBrain: fakeBrain{delay: 20 * time.Millisecond}}
		cfg := DefaultConfig()
		cfg.Brains = []string{"fake"}
		down, failed := "trk_1,trk_2", []string(nil)
		cfg.Trunks = Trunks{Hints: func() (string, string) { return down, "trk_3=[2001:db8::1]:5060,trk_4=192.0.2.1:5060" },
			Failed: func(id string, code int) { failed = append(failed, id) }}
		d, err := newDoor(cfg, []client{b})
		if err != nil {
			t.Fatal(err)
		}
		defer d.stop()
		ask := func(path, body string) {
			d.decision(&request{received: time.Now(), path: path, contentType: []byte("application/x-www-form-urlencoded"), body: []byte(body)})
		}
		const body = "call_id=a&cseq=7&branch=z9&down=forged&at=number%2F%2B49&via=forged&trunk=trk%5F9&failed_code=408"
		ask(api.PathRoute, body)
		down = ""
		ask(api.PathRoute, body)
		ask(api.PathAuth, body)
		if len(b.bodies) != 2 {
			t.Fatalf("the brain was asked %d times", len(b.bodies))
		}
		got := b.bodies[0]
		if got.Get("down") != "trk_1,trk_2" || got.Get("via") != "trk_3=[2001:db8::1]:5060,trk_4=192.0.2.1:5060" || len(got["down"])+len(got["via"]) != 2 || got.Get("at") != "number/+49" || got.Get("branch") != "z9" {
			t.Errorf("asked with %v", got)
		}
		if b.bodies[1].Get("down") != "forged" {
			t.Errorf("a question about a registration was changed: %v", b.bodies[1])
		}
		ask(api.PathRoute, "call_id=b&cseq=7&branch=z9&down=forged")
		if last := b.bodies[2]; last.Get("down") != "" || last.Get("via") == "" {
			t.Errorf("nothing is down, and the brain is asked with %v", last)
		}
		if strings.Join(failed, " ") != "trk_9" {
			t.Errorf("heard of failures at %v, want one of trk_9", failed)
		}
	})
}
