package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// slots are the tokens of the calls that the brain counts for the account acme.
func slots(ctx context.Context, e *edge.Edge) ([]string, error) {
	id, err := e.AccountID(ctx, "acme")
	if err != nil {
		return nil, err
	}
	body, err := e.Request(ctx, "GET", api.PathCAC+"?account_id="+id, "", nil)
	if err != nil {
		return nil, err
	}
	var state api.CACState
	if err := json.Unmarshal(body, &state); err != nil {
		return nil, err
	}
	var tokens []string
	for _, s := range state.Slots {
		tokens = append(tokens, s.Token)
	}
	slices.Sort(tokens)
	return tokens, nil
}

// sameCalls tells whether the brain's slots are exactly Kamailio's dialogs.
func sameCalls(ctx context.Context, e *edge.Edge, want int) error {
	counted, err := slots(ctx, e)
	if err != nil {
		return err
	}
	live, err := e.Dialogs(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(counted, live) || want >= 0 && len(live) != want {
		return fmt.Errorf("%d slots, %d live dialogs; slots without a dialog %.300v; dialogs without a slot %.300v", len(counted), len(live), without(counted, live), without(live, counted))
	}
	return nil
}

// without lists what is in a and not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// A limit refuses the call over it, on the real edge: a user's second call gets 486, one over the account's limit
// 480; when a call ends the next is let in. Each call that is up is counted once, and none is left at the end.
func TestAdmission_RefusesOverTheLimitAndFreesAtTheEnd(t *testing.T) {
	e := start(t, edge.Options{Config: acme})
	ctx := within(t, 60*time.Second)
	if err := e.Apply(ctx, strings.Replace(acme, `spec: {timezone: Europe/Berlin}`, `spec: {timezone: Europe/Berlin, max_internal: 1}`, 1)); err != nil {
		t.Fatal(err)
	}
	alice, bob := registered(t, e, "1001"), registered(t, e, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	talk(t, ctx, a, b)
	refused(t, ctx, registered(t, e, "1009"), "1001", 480)
	eventually(t, ctx, "one slot, one dialog", func() error { return sameCalls(ctx, e, 1) })
	hangUp(t, ctx, e, a, b)
	eventually(t, ctx, "no slot", func() error { return sameCalls(ctx, e, 0) })
	converse(t, ctx, e, alice, bob, "1002")

	eventually(t, ctx, "no slot", func() error { return sameCalls(ctx, e, 0) }) // the end of a call is told within a tenth of a second
	oneLine := strings.Replace(acme, `spec: {display_name: Alice}`, `spec: {display_name: Alice, max_simultaneous: 1}`, 1)
	if err := e.Apply(ctx, oneLine); err != nil {
		t.Fatal(err)
	}
	a, b = connect(t, ctx, alice, bob, "1002")
	refused(t, ctx, registered(t, e, "1009"), "1001", 486)
	hangUp(t, ctx, e, a, b)
	noCalls(t, ctx, e)
}

const (
	rate      = 100             // calls a second
	begins    = 4 * time.Second // how long calls begin
	held      = 9 * time.Second // how long each is up
	reportSec = 1
)

// At 100 calls a second the brain is killed at a random moment, three times. No call that was answered is lost: every
// one is ended by its caller with a BYE that is answered. Within one report period of the restart the brain counts
// exactly the calls that are up (in two rounds of three), and when all are over it counts none.
func TestAdmission_SurvivesTheBrainAtAHundredCallsASecond(t *testing.T) {
	e := start(t, edge.Options{Config: acme, NodeFlags: []string{"--survival=false", fmt.Sprintf("--report-interval=%ds", reportSec)}})
	ctx := within(t, 150*time.Second)
	callee := answeringSIPp(t, ctx, e)
	t.Logf("callee at %s", callee)
	var late []time.Duration
	for round := range 3 {
		caller := callingSIPp(t, ctx, e)
		after := time.Duration(rand.Int64N(int64(begins - time.Second)))
		timer := time.NewTimer(after)
		<-timer.C
		killed := time.Now()
		if err := e.Brain.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := e.StartBrain(ctx); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		// Calls still begin for a while; what is up can be compared once none begins and none ends.
		rest := time.NewTimer(max(0, begins-after+time.Second-time.Since(back)))
		<-rest.C
		settled := time.Now()
		var differed error
		eventually(t, ctx, "slots are live dialogs", func() error {
			err := sameCalls(ctx, e, -1)
			if err != nil {
				differed = err
			}
			return err
		})
		late = append(late, time.Since(settled))
		live, err := e.Dialogs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: killed after %v; %d calls up; slots equal %v after the last call began; before, %v", round, after.Round(time.Millisecond), len(live), late[round].Round(time.Millisecond), differed)
		if want := int(rate * (begins - back.Sub(killed)).Seconds() / 2); len(live) < want { // those that began without a brain were refused
			t.Errorf("only %d calls are up, want at least %d", len(live), want)
		}
		if out, err := caller.wait(); err != nil {
			t.Errorf("established calls were lost: %v\n%s", err, out)
		}
		eventually(t, ctx, "no slot is left", func() error { return sameCalls(ctx, e, 0) })
	}
	if slices.Sort(late); late[1] > (reportSec+1)*time.Second {
		t.Errorf("slots equal live dialogs only after %v, in two of three rounds; want one report period", late)
	}
}

// sippRun is a sipp under way.
type sippRun struct {
	cmd *exec.Cmd
	out strings.Builder
}

func (r *sippRun) wait() (string, error) {
	err := r.cmd.Wait()
	text := r.out.String()
	return text[max(0, len(text)-1500):], err
}

func sippScenario(elem ...string) string {
	return filepath.Join(append([]string{edge.Root(), "test"}, elem...)...)
}

func startSIPp(t *testing.T, ctx context.Context, e *edge.Edge, args ...string) *sippRun {
	t.Helper()
	r := &sippRun{cmd: exec.CommandContext(ctx, "sipp", append(args, "-i", "127.0.0.1", "-nostdin", "-buff_size", "1048576")...)}
	r.cmd.Dir = t.TempDir()
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// table writes the account a sipp of the test uses.
func table(t *testing.T, user, target string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.csv")
	line := fmt.Sprintf("SEQUENTIAL\n%s;acme.test;[authentication username=%s password=secret-%s];%s\n", user, user, user, target)
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answeringSIPp registers user 1002 from a port of its own and answers every call there.
func answeringSIPp(t *testing.T, ctx context.Context, e *edge.Edge) string {
	t.Helper()
	port := freeUDP(t)
	reg := startSIPp(t, ctx, e, e.SIP, "-sf", sippScenario("bench", "sipp", "register.xml"), "-inf", table(t, "1002", "1002"), "-p", port, "-m", "1", "-timeout", "10")
	if out, err := reg.wait(); err != nil {
		t.Fatalf("register: %v\n%s", err, out)
	}
	uas := startSIPp(t, ctx, e, "-sf", sippScenario("bench", "sipp", "answer.xml"), "-p", port, "127.0.0.1")
	t.Cleanup(func() {
		_ = uas.cmd.Process.Kill()
		_ = uas.cmd.Wait()
	})
	return "127.0.0.1:" + port
}

// callingSIPp begins rate calls a second of 1001 to 1002, each held; it ends with an error when an answered call was lost.
func callingSIPp(t *testing.T, ctx context.Context, e *edge.Edge) *sippRun {
	t.Helper()
	n := rate * int(begins/time.Second)
	return startSIPp(t, ctx, e, e.SIP, "-sf", sippScenario("scenario", "testdata", "sipp", "held-call-expect-bye-or-503.xml"), "-inf", table(t, "1001", "1002"),
		"-m", fmt.Sprint(n), "-l", fmt.Sprint(n), "-r", fmt.Sprint(rate), "-d", fmt.Sprint(held.Milliseconds()), "-timeout", "60", "-recv_timeout", "20000", "-trace_err")
}
