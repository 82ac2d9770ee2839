package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// The node agent is killed with callers in a prompt, in a menu, in a conversation, in a recorded one, in a conference
// and leaving a message, and started again: conversations and the conference are heard all the while, every other
// caller goes on at the command where he was, the conversation that ended is not begun again, and the recordings are
// kept. Then agent and brain are killed, and the agent starts first: the caller in the menu still goes on.
func TestAnswerOutage_AgentKilledAndRestarted(t *testing.T) {
	t.Parallel()
	e := ownShop(t)
	ctx := within(t, 90*time.Second)
	lengthen(t, e, "number", 3*time.Second)
	p := party(t, ctx, e)
	prompt := inMenu(t, ctx, e)
	pressKeys(t, prompt, "1")
	hear(t, ctx, prompt, "number")
	idle := inMenu(t, ctx, e)
	if err := e.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	p.heard(t, ctx)
	beep := p.beep(ctx)
	if err := e.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	hear(t, ctx, prompt, "number")
	pressKeys(t, idle, "1")
	hear(t, ctx, idle, "number")
	pressKeys(t, prompt, "0000")
	hungUp(t, ctx, "the caller who was told to call again tomorrow", prompt)
	p.heard(t, ctx)
	said := p.endMessage(t, ctx, beep)
	talked := p.end(t, ctx)
	kept(t, ctx, e, said, talked)
	leaveAll(t, ctx, idle)

	alone := inMenu(t, ctx, e)
	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	deadFor(ctx, time.Second)
	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	pressKeys(t, alone, "1")
	hear(t, ctx, alone, "number")
	leaveAll(t, ctx, alone)
	nothingLeft(t, ctx, e)
}

// crowd are callers in everything that lasts: a conversation that a flow dialed, one that is recorded, a conference,
// a message being left.
type crowd struct {
	dora, frieda        *phone.Phone
	caller, doras       *phone.Call
	recorder, recordeds *phone.Call
	one, other          *phone.Call
	message             *phone.Call
	since               time.Time // the recorded ones talk
}

func party(t *testing.T, ctx context.Context, e *edge.Edge) *crowd {
	t.Helper()
	in := realm("shop.test")
	p := &crowd{dora: registered(t, e, "2001", in), frieda: registered(t, e, "2003", in)}
	emil := registered(t, e, "2002", in)
	p.caller = inMenu(t, ctx, e)
	up := answering(ctx, p.dora)
	pressKeys(t, p.caller, "2")
	p.doras = <-up
	if p.doras == nil {
		t.Fatal("Dora was not rung")
	}
	p.recorder, p.recordeds = connect(t, ctx, emil, p.frieda, "2003")
	talk(t, ctx, p.recorder, p.recordeds)
	p.since = time.Now()
	p.one, p.other = meet(t, ctx, emil), meet(t, ctx, p.frieda)
	p.message = inMenu(t, ctx, e)
	pressKeys(t, p.message, "3")
	if err := p.message.HearSound(ctx, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	pressKeys(t, p.message, "#")
	if _, err := p.message.HearTone(ctx, recordBeep); err != nil {
		t.Fatal(err)
	}
	p.message.SendTone(1300)
	p.heard(t, ctx)
	return p
}

// recordBeep is the tone before a message is recorded.
const recordBeep = 800

// meet brings a phone into the conference.
func meet(t *testing.T, ctx context.Context, p *phone.Phone) *phone.Call {
	t.Helper()
	c, err := p.Call(ctx, "800")
	if err != nil {
		t.Fatal(err)
	}
	c.SendTone(0)
	if err := c.HearSound(ctx, 300*time.Millisecond); err != nil { // asked for the PIN
		t.Fatal(err)
	}
	pressKeys(t, c, "1234#")
	return c
}

// heard says that everybody who talks to somebody is heard.
func (p *crowd) heard(t *testing.T, ctx context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	talk(t, ctx, p.caller, p.doras)
	talk(t, ctx, p.recorder, p.recordeds)
	talk(t, ctx, p.one, p.other)
}

// beep waits in the background until the caller is asked for his message, and tells when that was.
func (p *crowd) beep(ctx context.Context) <-chan time.Time {
	at := make(chan time.Time, 1)
	go func() {
		defer close(at)
		if _, err := p.message.HearTone(ctx, recordBeep); err == nil {
			at <- time.Now()
		}
	}()
	return at
}

// endMessage has the message's caller hang up, and tells for how long he spoke since the beep.
func (p *crowd) endMessage(t *testing.T, ctx context.Context, beep <-chan time.Time) time.Duration {
	t.Helper()
	select {
	case at, ok := <-beep:
		if ok {
			leaveAll(t, ctx, p.message)
			return time.Since(at)
		}
	case <-time.After(10 * time.Second):
	}
	t.Error("the caller is not asked for his message again")
	return 0
}

// end has everybody hang up, and tells how long the recorded conversation was.
func (p *crowd) end(t *testing.T, ctx context.Context) time.Duration {
	t.Helper()
	leaveAll(t, ctx, p.doras)
	hungUp(t, ctx, "the caller whose conversation is over", p.caller)
	talked := time.Since(p.since)
	leaveAll(t, ctx, p.recorder)
	hungUp(t, ctx, "the other side of the recorded conversation", p.recordeds)
	leaveAll(t, ctx, p.one, p.other)
	for _, callee := range []*phone.Phone{p.dora, p.frieda} {
		select {
		case <-callee.Incoming():
			t.Error("a callee was rung again for a conversation that was over")
		default:
		}
	}
	return talked
}

// kept waits for a message and a recording, as long as they have to be.
func kept(t *testing.T, ctx context.Context, e *edge.Edge, message, recording time.Duration) {
	t.Helper()
	id, account, err := shopID(e, "voicemails", "dora")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the message", func() error {
		ms, err := durations(ctx, e, "/v1/voicemail_messages?limit=500&account_id="+account, id)
		if err == nil && (len(ms) != 1 || (ms[0]-message).Abs() > 2*time.Second) {
			return fmt.Errorf("%v long, want one of %v", ms, message)
		}
		return err
	})
	eventually(t, ctx, "the recording", func() error {
		_, line, _ := strings.Cut(lastLine(t, e.Brain, `"call recorded"`), "{")
		var rec struct {
			DurationMS int64 `json:"duration_ms"`
		}
		if err := json.Unmarshal([]byte("{"+line), &rec); err != nil {
			return err
		}
		if got := time.Duration(rec.DurationMS) * time.Millisecond; got < recording-3*time.Second || got > recording+3*time.Second {
			return fmt.Errorf("it is %v long, want %v", got, recording)
		}
		return nil
	})
}

// durations are those of a mailbox's messages.
func durations(ctx context.Context, e *edge.Edge, path, box string) (list []time.Duration, err error) {
	body, err := e.Request(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	var page struct {
		Items []struct {
			VoicemailID string `json:"voicemail_id"`
			DurationMS  int64  `json:"duration_ms"`
		}
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, err
	}
	for _, m := range page.Items {
		if m.VoicemailID == box {
			list = append(list, time.Duration(m.DurationMS)*time.Millisecond)
		}
	}
	return list, nil
}
