package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

const (
	rotatedSecrets = 300 // several of a rotation's changes
	rotatedTrunks  = 20  // that register with one of them each
	maxKills       = 20
	nodeToken      = "token&of&edge-9&alone"
)

// sealedConfig is an account with many secrets and trunks that register by some of them.
func sealedConfig() string {
	var b strings.Builder
	b.WriteString("- {kind: account, name: acme}\n- {kind: sip_domain, account: acme, name: acme.test, spec: {is_primary: true}}\n")
	for i := range rotatedSecrets {
		fmt.Fprintf(&b, "- {kind: secret, account: acme, name: s%03d, spec: {value: %q}}\n", i, password)
	}
	for i := range rotatedTrunks {
		fmt.Fprintf(&b, "- {kind: sip_trunk, account: acme, name: pbx%d, spec: {direction: both, inbound_auth: register, auth_username: pbx%d, auth_secret_ref: s%03d}}\n",
			i, i, i*rotatedSecrets/rotatedTrunks)
	}
	return b.String()
}

// asking puts questions that each need a sealed value, until it is ended.
type asking struct {
	e      *edge.Edge
	room   string       // a question that every node is asked about, with its token
	away   atomic.Int32 // counts up when the brain is killed, and again when it is back: odd while it is away
	asked  atomic.Int64
	orders atomic.Int64 // that nodes have had
	failed chan error
	end    chan struct{}
	all    sync.WaitGroup
}

// node is an edge machine that takes orders with its own token alone.
func (a *asking) node(w http.ResponseWriter, r *http.Request) {
	var op api.Op
	if err := json.NewDecoder(r.Body).Decode(&op); err != nil || r.Header.Get("Authorization") != "Bearer "+nodeToken {
		http.Error(w, "the token is wrong", http.StatusUnauthorized)
		a.fail(fmt.Errorf("an order came with %q, %v", r.Header.Get("Authorization"), err))
		return
	}
	a.orders.Add(1)
	_ = json.NewEncoder(w).Encode(api.OpReply{ID: op.ID, OK: true})
}

func (a *asking) fail(err error) {
	select {
	case a.failed <- err:
	default: // there are enough
	}
}

// run asks at a steady rate, over all trunks.
func (a *asking) run(worker int) {
	defer a.all.Done()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := worker; ; i += 3 {
		select {
		case <-a.end:
			return
		case <-tick.C:
		}
		before := a.away.Load()
		err := a.register(i % rotatedTrunks)
		if i%10 == 0 {
			err = errors.Join(err, a.order())
		}
		if before%2 == 0 && a.away.Load() == before {
			a.asked.Add(1)
			if err != nil {
				a.fail(err)
			}
		}
	}
}

// register has a trunk register by its secret.
func (a *asking) register(trunk int) error {
	user := fmt.Sprintf("pbx%d", trunk)
	q := digested("REGISTER", user, "acme.test")
	for name, value := range map[string]string{"call_id": "rotate", "to_user": user, "to_domain": "acme.test"} {
		q.Set(name, value)
	}
	var reply api.AuthReply
	if err := a.ask(http.MethodPost, api.PathAuth, q, &reply); err != nil {
		return err
	}
	if reply.Action != api.ActionAccept {
		return fmt.Errorf("%s is refused: %+v", user, reply)
	}
	return nil
}

// order has an order pushed to the node.
func (a *asking) order() error { return a.ask(http.MethodGet, a.room, nil, nil) }

func (a *asking) ask(method, path string, form url.Values, into any) error {
	req, err := http.NewRequest(method, a.e.BrainURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.e.AdminKey)
	req.Header.Set("Content-Type", typeForm)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, resp.StatusCode, text)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	return err
}

// startAsking asks a brain that has sealedConfig, and gives it a node.
func startAsking(t *testing.T, e *edge.Edge) *asking {
	t.Helper()
	a := &asking{e: e, failed: make(chan error, 8), end: make(chan struct{})}
	far := httptest.NewServer(http.HandlerFunc(a.node))
	t.Cleanup(far.Close)
	admin := newAsker(t, e.BrainURL, e.AdminKey)
	admin.send(201, "POST", "/v1/nodes", fmt.Sprintf(`{"name":"edge-9","agent_url":%q,"agent_token":%q}`, far.URL, nodeToken))
	acme := admin.named(brain.KindAccount, "", "name", "acme")
	room := admin.send(201, "POST", "/v1/conferences?account_id="+acme, `{"name":"room"}`).field("id")
	a.room = api.PathConference + "?account_id=" + acme + "&conference_id=" + room
	for worker := range 3 {
		a.all.Add(1)
		go a.run(worker)
	}
	return a
}

// newKey puts a new key first in the key file, and returns it and the one before.
func newKey(t *testing.T, e *edge.Edge, file string) (fresh, old string) {
	t.Helper()
	old = strings.Fields(must(t, e, 0, "secret", "key", "list", file).out)[2]
	fresh = strings.TrimSpace(strings.TrimPrefix(must(t, e, 0, "secret", "key", "add", file).out, "added key "))
	must(t, e, 0, "secret", "key", "use", file, fresh)
	return fresh, old
}

// rotated rotates and takes the old key away. It returns how many the new key had sealed before.
func rotated(t *testing.T, e *edge.Edge, file, fresh, old string) (already int) {
	t.Helper()
	var anew int
	out := must(t, e, 0, "secret", "rotate").out
	if _, err := fmt.Sscanf(out, "%d secrets sealed anew with key "+fresh+", %d were already", &anew, &already); err != nil || anew+already != rotatedSecrets+1 {
		t.Errorf("rotation: %q, %v", out, err)
	}
	must(t, e, 0, "secret", "key", "rm", file, old)
	return already
}

// Proves that the master key is changed under load without a question that fails, and that a brain that is killed in the middle
// of it loses nothing: trunks register by secrets and orders go out with a node's token all the time, while the key is changed
// again and again, first undisturbed, then with the brain killed at a random moment of the rotation and started again. Each time the
// old key is taken out of the file afterwards; in the end one is left, and every secret opens with it.
func TestRotate_UnderLoadAndKilledInTheMiddle(t *testing.T) {
	e := start(t, edge.Options{Config: sealedConfig()})
	ctx := within(t, 240*time.Second)
	file := filepath.Join(e.Dir, "brain", "secret.key")
	a := startAsking(t, e)
	var usual time.Duration
	for range 4 {
		fresh, old := newKey(t, e, file)
		began := time.Now()
		rotated(t, e, file, fresh, old)
		usual = time.Since(began)
	}
	rounds, partly := 0, 0
	for ; partly < 3 && rounds < maxKills; rounds++ {
		fresh, old := newKey(t, e, file)
		killed := make(chan error, 1)
		time.AfterFunc(rand.N(usual), func() {
			a.away.Add(1)
			killed <- e.Brain.Kill()
		})
		sipio(t, e, "secret", "rotate") // it fails or not
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		if err := e.StartBrain(ctx); err != nil {
			t.Fatal(err)
		}
		a.away.Add(1)
		if already := rotated(t, e, file, fresh, old); already > 0 && already <= rotatedSecrets {
			partly++
		}
	}
	close(a.end)
	a.all.Wait()
	close(a.failed)
	for err := range a.failed {
		t.Error(err)
	}
	if partly == 0 || a.asked.Load() < 100 || a.orders.Load() < 10 {
		t.Errorf("%d of %d kills were in the middle of a rotation, %d questions, %d orders: nothing was tried", partly, rounds, a.asked.Load(), a.orders.Load())
	}
	t.Logf("a rotation takes %v; %d of %d kills were in its middle; %d questions, %d orders", usual, partly, rounds, a.asked.Load(), a.orders.Load())
	opensAll(t, e, a, file)
	starts := rounds + 2
	log, err := os.ReadFile(e.Brain.Log) // each start has tried every secret
	if err != nil || strings.Contains(string(log), "cannot be opened") || strings.Count(string(log), "brain answers") != starts {
		t.Errorf("the log of the brain, of %d starts: %v\n%s", starts, err, log[max(0, len(log)-2000):])
	}
}

// opensAll starts the brain again with the one key that is left, and has every secret opened.
func opensAll(t *testing.T, e *edge.Edge, a *asking, file string) {
	t.Helper()
	if list := must(t, e, 0, "secret", "key", "list", file).out; strings.Count(list, "\n") != 2 {
		t.Errorf("keys that are left:\n%s", list)
	}
	e.Brain.Stop()
	if err := e.StartBrain(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	for trunk := range rotatedTrunks {
		if err := a.register(trunk); err != nil {
			t.Error(err)
		}
	}
	if err := a.order(); err != nil {
		t.Error(err)
	}
}
