package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// The brain is killed with callers in the menu: one behind the greeting, one in it, one who presses his digit
// meanwhile, one for whom a server is being asked. Started again two seconds later it goes on with each where he was:
// nothing is said twice, no digit is lost, and the server is asked again under the same key.
func TestAnswerOutage_BrainKilledInTheMenu(t *testing.T) {
	t.Parallel()
	e := ownShop(t)
	ctx := within(t, 90*time.Second)
	daemons := pids(e)
	lengthen(t, e, "greeting", 2*time.Second)
	behind := inMenu(t, ctx, e)
	if err := behind.HearSilence(ctx, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	early, web := inMenu(t, ctx, e), inMenu(t, ctx, e)
	pressKeys(t, web, "1")
	hear(t, ctx, web, "number")
	during := inMenu(t, ctx, e)
	pressKeys(t, web, slowCustomer)
	first := crmQuestion(t, ctx)
	if err := e.Brain.Kill(); err != nil { // before the server has answered
		t.Fatal(err)
	}
	pressKeys(t, early, "1")
	heard := make(chan []int16, 1)
	go func() {
		samples, _ := behind.Listen(ctx, 5*time.Second)
		heard <- samples
	}()
	deadFor(ctx, 2*time.Second)
	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	hear(t, ctx, early, "number")
	if again := crmQuestion(t, ctx); again != first || again == "" {
		t.Errorf("the server was asked under the keys %q and %q, want the same", first, again)
	}
	if err := web.HearSound(ctx, time.Second); err != nil {
		t.Errorf("the caller for whom the server was asked hears no answer: %v", err)
	}
	samples, err := early.Listen(ctx, 2*time.Second)
	if n := bursts(samples, soundTones["number"]); n > 1 || err != nil {
		t.Errorf("the number is asked for %d times more (%v)", n, err)
	}
	if n := bursts(<-heard, soundTones["greeting"]); n > 0 {
		t.Errorf("the greeting was heard %d times more", n)
	}
	for _, c := range []*phone.Call{behind, during} {
		pressKeys(t, c, "1")
		hear(t, ctx, c, "number")
	}
	hungUp(t, ctx, "the caller who was told to call again tomorrow", web)
	leaveAll(t, ctx, behind, early, during)
	noCalls(t, ctx, e)
	noMedia(t, ctx, e)
	if now := pids(e); now != daemons {
		t.Errorf("something else than the brain was restarted: %v, before %v", now, daemons)
	}
}

// crmQuestion is the Idempotency-Key of the next question about the slow customer.
func crmQuestion(t *testing.T, ctx context.Context) (key string) {
	t.Helper()
	select {
	case key = <-crmAsked:
	case <-ctx.Done():
		t.Fatal("the server was not asked")
	}
	return key
}

// Nobody comes back: on one node the brain is killed, on another the node agent. Callers in the menu are released within
// the patience of either, by a BYE that says why, and leave nothing behind; a conversation goes on without an agent, as
// long as the two want.
func TestAnswerOutage_NobodyComesBack(t *testing.T) {
	t.Parallel()
	brainless, agentless := ownShop(t), ownShop(t)
	ctx := within(t, 90*time.Second)
	in := realm("shop.test")
	dora := registered(t, agentless, "2001", in)
	talking := inMenu(t, ctx, agentless)
	up := answering(ctx, dora)
	pressKeys(t, talking, "2")
	doras := <-up
	if doras == nil {
		t.Fatal("Dora was not rung")
	}
	calls := map[string]*phone.Call{"agent": inMenu(t, ctx, agentless), "brain": inMenu(t, ctx, brainless)}
	began := time.Now()
	if err := brainless.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := agentless.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"agent", "brain"} {
		hungUp(t, ctx, "the caller without a "+part, calls[part])
		if why := calls[part].EndReason(); !strings.Contains(why, "cause=41") {
			t.Errorf("no %s: the caller is told the reason %q, want cause 41", part, why)
		}
		t.Logf("without a %s the caller was released after %v", part, time.Since(began).Round(time.Second))
	}
	talk(t, ctx, talking, doras)
	leaveAll(t, ctx, talking)
	hungUp(t, ctx, "the other side of the conversation", doras)
	for _, e := range []*edge.Edge{agentless, brainless} {
		noChannels(t, ctx, e)
		noDialogs(t, ctx, e)
		noMedia(t, ctx, e)
	}
}

// ownShop is a node with the account shop whose parts a test may kill.
func ownShop(t *testing.T) *edge.Edge {
	t.Helper()
	e, err := startShop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	tails(t, e)
	return e
}

// lengthen makes one of the account's sounds so long.
func lengthen(t *testing.T, e *edge.Edge, sound string, d time.Duration) {
	t.Helper()
	if err := upload(e, sound, []byte(wav(soundTones[sound], d))); err != nil {
		t.Fatal(err)
	}
}

// inMenu is a caller from the telephone network who begins to hear the greeting.
func inMenu(t *testing.T, ctx context.Context, e *edge.Edge) *phone.Call {
	t.Helper()
	c, err := trunkPhone(t, e, "4930555").Call(ctx, "493012345")
	if err != nil {
		t.Fatal(err)
	}
	c.SendTone(0)
	hear(t, ctx, c, "greeting")
	return c
}

func pressKeys(t *testing.T, c *phone.Call, digits string) {
	t.Helper()
	if err := c.SendDigits(digits); err != nil {
		t.Fatalf("press %s: %v", digits, err)
	}
}

// hungUp waits for a call's end.
func hungUp(t *testing.T, ctx context.Context, who string, calls ...*phone.Call) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for _, c := range calls {
		select {
		case <-c.Done():
		case <-ctx.Done():
			t.Fatalf("%s was not hung up", who)
		}
	}
}

func leaveAll(t *testing.T, ctx context.Context, calls ...*phone.Call) {
	t.Helper()
	for _, c := range calls {
		if err := c.Bye(ctx); err != nil {
			t.Errorf("BYE: %v", err)
		}
	}
}

// deadFor is the time for which a part stays dead.
func deadFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// pids are the processes that serve calls beside the brain.
func pids(e *edge.Edge) [4]int {
	return [4]int{e.Kamailio.PID(), e.Node.PID(), e.Media.PID(), e.RTPEngine.PID()}
}

// bursts counts how often a tone of ours begins in what was heard.
func bursts(samples []int16, hz float64) int {
	const frame, level, apart = tone.Rate / 50, -20, 5
	count, quiet := 0, apart
	for ; len(samples) >= frame; samples = samples[frame:] {
		if tone.LevelAt(samples[:frame], hz) < level {
			quiet++
			continue
		}
		if quiet >= apart {
			count++
		}
		quiet = 0
	}
	return count
}

// mediaOrder gives the media server a command, which must be taken, and returns what that prints.
func mediaOrder(t *testing.T, ctx context.Context, e *edge.Edge, command string) string {
	t.Helper()
	answer, err := mediaAnswer(ctx, e, command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return answer
}

// mediaAnswer is mediaOrder of a command that may be refused.
func mediaAnswer(ctx context.Context, e *edge.Edge, command string) (string, error) {
	password, err := os.ReadFile(filepath.Join(e.Dir, "media.key"))
	if err != nil {
		return "", err
	}
	conn, err := esl.Dial(ctx, e.MediaESL, string(password), esl.Options{})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	answer, err := conn.API(ctx, command)
	if refused, ok := errors.AsType[*esl.CommandError](err); ok && refused.Text == "-ERR no reply" { // the command printed nothing
		return "", nil
	}
	return answer, err
}

// nothingLeft waits until no part holds anything of a call: media server, Kamailio, rtpengine, brain.
func nothingLeft(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	noChannels(t, ctx, e)
	noDialogs(t, ctx, e)
	noMedia(t, ctx, e)
	noCalls(t, ctx, e)
	noSlots(t, ctx, e)
}

// noChannels waits until the media server has none.
func noChannels(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	eventually(t, ctx, "the media server to have no channel", func() error {
		var list struct {
			Count int `json:"row_count"`
		}
		body := mediaOrder(t, ctx, e, "show channels as json")
		if err := json.Unmarshal([]byte(body), &list); err != nil || list.Count > 0 {
			return fmt.Errorf("%s (%v)", body, err)
		}
		return nil
	})
}

// noDialogs waits until Kamailio has none.
func noDialogs(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	eventually(t, ctx, "Kamailio to have no dialog", func() error {
		dialogs, err := e.Dialogs(ctx)
		if err == nil && len(dialogs) > 0 {
			err = fmt.Errorf("it has %v", dialogs)
		}
		return err
	})
}

// noSlots waits until nothing of the account is taken.
func noSlots(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	account, err := e.AccountID(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "no slot to be taken", func() error {
		body, err := e.Request(ctx, http.MethodGet, api.PathCAC+"?account_id="+account, "", nil)
		if err != nil {
			return err
		}
		var state api.CACState
		if err := json.Unmarshal(body, &state); err != nil {
			return err
		}
		if len(state.Slots) > 0 {
			return fmt.Errorf("taken: %s", body)
		}
		return nil
	})
}

// logLines counts the lines of a daemon's log that hold all of some words.
func logLines(t *testing.T, p *edge.Proc, words ...string) (n int) {
	t.Helper()
	log, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
lines:
	for line := range strings.Lines(string(log)) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

// lastLine is the last line of a daemon's log that holds a word, "" when there is none.
func lastLine(t *testing.T, p *edge.Proc, word string) (last string) {
	t.Helper()
	log, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, word) {
			last = line
		}
	}
	return last
}
