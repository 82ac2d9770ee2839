package scenario

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// tapeKeys are where the recording of a live call of an account is to be: beside this day in the account's zone, that of
// a minute ago.
func tapeKeys(t *testing.T, ctx context.Context, e *edge.Edge, account string, c *phone.Call) (keys []string) {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	token := liveToken(t, ctx, e, c)
	for _, at := range []time.Time{time.Now().Add(-time.Minute), time.Now()} {
		keys = append(keys, account+"/rec/"+at.In(zone).Format(time.DateOnly)+"/"+c.CallID()+"-"+token+".wav")
	}
	return slices.Compact(keys)
}

// recording waits for a recording of the account shop, and reads it as the account does.
func recording(t *testing.T, ctx context.Context, e *edge.Edge, keys []string) (s sound) {
	t.Helper()
	_, account := brainOf(t, ctx, e)
	return recordingOf(t, ctx, e, account, keys)
}

// recordingOf is recording of another account.
func recordingOf(t *testing.T, ctx context.Context, e *edge.Edge, account string, keys []string) (s sound) {
	t.Helper()
	eventually(t, ctx, "the recording", func() (err error) {
		for _, key := range keys {
			var file []byte
			if file, err = e.Request(ctx, http.MethodGet, "/v1/objects/"+key+"?account_id="+account, "", nil); err == nil {
				s, err = readWAV(file)
				return err
			}
		}
		return err
	})
	return s
}

// liveToken is the token of a live call.
func liveToken(t *testing.T, ctx context.Context, e *edge.Edge, c *phone.Call) (token string) {
	t.Helper()
	brain := clientOf(t, e)
	eventually(t, ctx, "the call among the live ones", func() error {
		calls, _, err := brain.Calls(ctx, 500)
		i := slices.IndexFunc(calls, func(one api.Call) bool { return one.CallID == c.CallID() })
		if err == nil && i < 0 {
			err = fmt.Errorf("there are %+v", calls)
		}
		if err == nil {
			token = calls[i].Token
		}
		return err
	})
	return token
}

// rung calls target and answers at b, once the caller has heard it ring and is not answered yet.
func rung(t *testing.T, ctx context.Context, a, b *phone.Phone, target string) (caller, callee *phone.Call) {
	t.Helper()
	caller, err := a.Dial(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-b.Incoming():
		if err := in.Ring(); err != nil {
			t.Fatal(err)
		}
		if _, err := caller.HearTone(ctx, 425); err != nil {
			t.Fatalf("the caller does not hear it ring: %v", err)
		}
		now, cancel := context.WithCancel(ctx)
		cancel()
		if err := caller.Wait(now); err == nil {
			t.Error("the caller is answered while it rings")
		}
		if callee, err = in.Answer(ctx); err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		t.Fatalf("%s was not rung", target)
	}
	if err := caller.Wait(ctx); err != nil {
		t.Fatalf("call %s: %v", target, err)
	}
	return caller, callee
}

// A call to a user whose calls are recorded, and one from him: the caller hears it ring and is answered with the other
// side. The recording is a file of two channels, the caller on the left, each with its own side's tone and nothing else;
// what was said while it was paused is silence of that length in both.
func TestRecording_HasEachSideInItsChannelAndSilenceWhilePaused(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	for _, way := range []struct{ from, to string }{{"2001", "2003"}, {"2003", "2001"}} {
		t.Run(way.from+" to "+way.to, func(t *testing.T) {
			ctx := within(t, 60*time.Second)
			a, b := rung(t, ctx, registered(t, e, way.from, realm("shop.test")), registered(t, e, way.to, realm("shop.test")), way.to)
			talk(t, ctx, a, b)
			token := liveToken(t, ctx, e, a)
			_, account := brainOf(t, ctx, e)
			keys := tapeKeys(t, ctx, e, account, a)
			for range 2 {
				talk(t, ctx, a, b)
			}
			asked := time.Now()
			sipio(t, ctx, e, "recording", "pause", token)
			paused := time.Now()
			both(t, ctx, a, b, 2*time.Second)
			silence := time.Since(paused)
			sipio(t, ctx, e, "recording", "resume", token)
			most := time.Since(asked)
			both(t, ctx, a, b, 2*time.Second)
			hangUp(t, ctx, e, a, b)

			s := recording(t, ctx, e, keys)
			if s.channels() != 2 {
				t.Fatalf("%d channels", s.channels())
			}
			only(t, "the caller's channel", s[0], 440, 620)
			only(t, "the called side's channel", s[1], 620, 440)
			left, said := pause(s[0])
			right, heard := pause(s[1])
			t.Logf("%v long; left %v of sound, silent for %v; right %v, %v; paused for %v", s.length(), said, left.length(), heard, right.length(), silence)
			for name, gap := range map[string]span{"left": left, "right": right} {
				if gap.length() < silence-time.Second || gap.length() > most+time.Second {
					t.Errorf("%s: silent for %v, paused for %v to %v", name, gap.length(), silence, most)
				}
			}
			if off := time.Duration(left.from-right.from) * frame; off.Abs() > time.Second {
				t.Errorf("the pause begins at frame %d on the left and at %d on the right", left.from, right.from)
			}
		})
	}
}

// An operator has a call recorded that nothing else records, and stops it: the recording is where he was told, and has
// what was said between the two.
func TestRecording_ByAnOperator(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	ctx := within(t, 60*time.Second)
	up := answering(ctx, registered(t, e, "2001", realm("shop.test")))
	a := dialUp(t, ctx, registered(t, e, "2002", realm("shop.test")), "801")
	hear(t, ctx, a, "greeting")
	pressed(t, a, "2")
	b, ok := <-up
	if !ok {
		t.Fatal("nobody was rung")
	}
	talk(t, ctx, a, b)
	token := liveToken(t, ctx, e, a)
	asked := time.Now()
	key := strings.TrimSpace(sipio(t, ctx, e, "recording", "start", token))
	began := time.Now()
	both(t, ctx, a, b, 3*time.Second)
	least := time.Since(began)
	sipio(t, ctx, e, "recording", "stop", token)
	most := time.Since(asked)
	both(t, ctx, a, b, 2*time.Second)
	hangUp(t, ctx, e, a, b)
	s := recording(t, ctx, e, []string{key})
	if s.channels() != 2 {
		t.Fatalf("%d channels", s.channels())
	}
	only(t, "the caller's channel", s[0], 440, 620)
	only(t, "the called side's channel", s[1], 620, 440)
	if s.length() < least-time.Second || s.length() > most+time.Second {
		t.Errorf("%v long, recorded for %v to %v", s.length(), least, most)
	}
}

// both has the two sides listen to each other for a while: the call goes on, whatever is recorded.
func both(t *testing.T, ctx context.Context, a, b *phone.Call, d time.Duration) {
	t.Helper()
	samples, err := a.Listen(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if level := tone.LevelAt(samples, 620); level < there {
		t.Errorf("meanwhile the caller hears the other at %.0f dBFS", level)
	}
	if _, err := b.HearTone(ctx, 440); err != nil {
		t.Errorf("meanwhile the called side: %v", err)
	}
}

// A call from the telephone network to such a user is recorded, and one that a flow puts through and wants recorded, to
// a user whose calls are not; a call between users who do not want it is not.
func TestRecording_OfANumberAndByAFlow(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	var none []string // where a recording of the first call would be, looked for when those of the later ones are there
	for _, c := range []struct {
		name       string
		trunk      bool
		dials, who string
		recorded   bool
	}{
		{"neither", false, "2001", "2001", false},
		{"number", true, "493012346", "2003", true},
		{"flow", false, "804", "2001", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 60*time.Second)
			var caller *phone.Phone
			if c.trunk {
				caller = trunkPhone(t, e, "4930555")
			} else {
				caller = registered(t, e, "2002", realm("shop.test"))
			}
			a, b := connect(t, ctx, caller, registered(t, e, c.who, realm("shop.test")), c.dials)
			for range 6 {
				talk(t, ctx, a, b)
			}
			both(t, ctx, a, b, 2*time.Second)
			_, account := brainOf(t, ctx, e)
			keys := tapeKeys(t, ctx, e, account, a)
			hangUp(t, ctx, e, a, b)
			if !c.recorded {
				none = keys
				return
			}
			s := recording(t, ctx, e, keys)
			if s.channels() != 2 {
				t.Fatalf("%d channels", s.channels())
			}
			only(t, "the caller's channel", s[0], 440, 620)
			only(t, "the called side's channel", s[1], 620, 440)
		})
	}
	ctx := within(t, 20*time.Second)
	_, account := brainOf(t, ctx, e)
	for _, key := range none {
		if _, err := e.Request(ctx, http.MethodGet, "/v1/objects/"+key+"?account_id="+account, "", nil); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Where the account wants it the caller hears, before it rings anywhere and before he is answered, that the call is
// recorded. The recording is that account's alone: its key reads it, another account's does not.
func TestRecording_IsAnnouncedAndReadByItsAccountAlone(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	ctx := within(t, 60*time.Second)
	otto, nora := registered(t, e, "3002", realm("notary.test")), registered(t, e, "3001", realm("notary.test"))
	a, err := otto.Dial(ctx, "3001")
	if err != nil {
		t.Fatal(err)
	}
	speech(t, ctx, a, 300*time.Millisecond, "the recording is not announced")
	select {
	case <-nora.Incoming():
		t.Fatal("it rang before the caller knew")
	default:
	}
	b, ok := <-answering(ctx, nora)
	if !ok {
		t.Fatal("nobody was rung")
	}
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		talk(t, ctx, a, b)
	}
	id, err := e.AccountID(ctx, "notary")
	if err != nil {
		t.Fatal(err)
	}
	keys := tapeKeys(t, ctx, e, id, a)
	hangUp(t, ctx, e, a, b)

	notary, shop := readingKey(t, ctx, e, "notary"), readingKey(t, ctx, e, "shop")
	eventually(t, ctx, "the account to read its recording", func() error {
		var last error
		for _, key := range keys {
			status, file := readObject(t, ctx, e, notary, key, "")
			if status == http.StatusOK {
				_, err := readWAV(file)
				return err
			}
			last = fmt.Errorf("%s: %d %.200s", key, status, file)
		}
		return last
	})
	for _, key := range keys {
		for account, want := range map[string]int{"": http.StatusNotFound, "?account_id=" + id: http.StatusForbidden} {
			if status, body := readObject(t, ctx, e, shop, key, account); status != want {
				t.Errorf("another account's key, %q: %d %.100s", account, status, body)
			}
		}
	}
}

// readingKey makes an API key of an account that reads calls.
func readingKey(t *testing.T, ctx context.Context, e *edge.Edge, account string) string {
	t.Helper()
	c, err := client.New(e.BrainURL, e.AdminKey)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.AccountID(ctx, account)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := c.NewKey(ctx, id, "archive", []brain.Scope{brain.ScopeCallsRead})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// readObject reads an object of the media store with a key.
func readObject(t *testing.T, ctx context.Context, e *edge.Edge, key, object, query string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.BrainURL+"/v1/objects/"+object+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}
