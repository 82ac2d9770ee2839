package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// Levels in dBFS, over a second, of a tone that is there and of one that is not: what a phone sends arrives at -10,
// and four tones at once are clipped now and then.
const (
	there    = -22.0
	notThere = -34.0
)

// guest is a phone in a conference, with the tone that it sends there.
type guest struct {
	number string
	hz     float64
	call   *phone.Call
}

// hears says what is wrong with what a guest heard: it must be the tones of all others but those silent, and not
// its own.
func (g *guest) hears(samples []int16, all, silent []*guest) error {
	for _, other := range all {
		level := tone.LevelAt(samples, other.hz)
		switch {
		case other == g && level > notThere:
			return fmt.Errorf("%s hears itself at %.0f dBFS", g.number, level)
		case other != g && slices.Contains(silent, other) && level > notThere:
			return fmt.Errorf("%s hears %s at %.0f dBFS", g.number, other.number, level)
		case other != g && !slices.Contains(silent, other) && level < there:
			return fmt.Errorf("%s hears %s at %.0f dBFS only", g.number, other.number, level)
		}
	}
	return nil
}

// hearing waits until each guest has heard for a second all others but those silent.
func hearing(t *testing.T, ctx context.Context, all []*guest, silent ...*guest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	wrong := make(chan error, len(all))
	for _, g := range all {
		go func() {
			var last error
			for {
				samples, err := g.call.Listen(ctx, time.Second)
				if err != nil {
					wrong <- fmt.Errorf("%w; before: %v", err, last)
					return
				}
				if last = g.hears(samples, all, silent); last == nil {
					wrong <- nil
					return
				}
			}
		}()
	}
	for range all {
		if err := <-wrong; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// attend calls a conference, gives a PIN when asked for one, and sends its tone.
func attend(t *testing.T, ctx context.Context, e *edge.Edge, g *guest, extension, pin string) {
	t.Helper()
	g.call = dialUp(t, ctx, registered(t, e, g.number, realm("shop.test")), extension)
	if pin != "" {
		speech(t, ctx, g.call, 300*time.Millisecond, "nobody asks for a PIN")
		pressed(t, g.call, pin+"#")
	}
	g.call.SendTone(g.hz)
}

// brainOf is a client of the edge's brain, with the id of the account shop.
func brainOf(t *testing.T, ctx context.Context, e *edge.Edge) (*client.Client, string) {
	t.Helper()
	account, err := e.AccountID(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, e), account
}

func clientOf(t *testing.T, e *edge.Edge) *client.Client {
	t.Helper()
	c, err := client.New(e.BrainURL, e.AdminKey)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// gathered waits until a conference of the account shop has n members, and returns it.
func gathered(t *testing.T, ctx context.Context, e *edge.Edge, name string, n int) (state api.ConferenceState) {
	t.Helper()
	c, account := brainOf(t, ctx, e)
	eventually(t, ctx, fmt.Sprintf("%d members of %s", n, name), func() (err error) {
		if state, err = c.Conference(ctx, account, name); err == nil && len(state.Members) != n {
			err = fmt.Errorf("there are %+v", state)
		}
		return err
	})
	return state
}

// sipio runs a command of the command line as an operator of the account shop does, and returns what it printed.
func sipio(t *testing.T, ctx context.Context, e *edge.Edge, args ...string) string {
	t.Helper()
	bin, err := edge.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin+"/sipio", append(args, "--account=shop")...)
	cmd.Env = append(os.Environ(), "SIPIO_SERVER="+e.BrainURL, "SIPIO_KEY="+e.AdminKey)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sipio %s: %v\n%s%s", strings.Join(args, " "), err, out, &errs)
	}
	return string(out)
}

// member is the id of a guest in a room.
func member(t *testing.T, state api.ConferenceState, number string) string {
	t.Helper()
	i := slices.IndexFunc(state.Members, func(m api.ConferenceMember) bool { return m.Number == number })
	if i < 0 {
		t.Fatalf("%s is not in %+v", number, state)
	}
	return state.Members[i].ID
}

// Five phones meet in a conference behind a PIN, each with a tone of its own: each hears the other four and not itself.
// The operator sees who is there and who moderates, mutes one, lets it speak again, puts it out, and locks the room: a
// sixth is told so and refused until it is unlocked. Afterwards the recording of the room holds all the tones.
func TestConference_FiveHearTheOtherFour(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	ctx := within(t, 150*time.Second)
	guests := []*guest{{number: "2011", hz: 437}, {number: "2012", hz: 613}, {number: "2013", hz: 839}, {number: "2014", hz: 1129}, {number: "2015", hz: 1381}}
	for i, g := range guests {
		attend(t, ctx, e, g, "800", map[bool]string{true: "9999", false: "1234"}[i == 1])
		gathered(t, ctx, e, "meeting", i+1)
	}
	_, account := brainOf(t, ctx, e)
	keys := tapeKeys(t, ctx, e, account, guests[0].call)
	hearing(t, ctx, guests)
	listed(t, gathered(t, ctx, e, "meeting", 5), guests, "2012")
	muteAndKick(t, ctx, e, guests)
	sixth := &guest{number: "2016", hz: 1613}
	lockOut(t, ctx, e, sixth)
	hearing(t, ctx, append(guests[:4:4], sixth))
	for _, g := range append(guests[:4:4], sixth) {
		if err := g.call.Bye(ctx); err != nil {
			t.Errorf("%s: %v", g.number, err)
		}
	}
	gathered(t, ctx, e, "meeting", 0)
	sound := recording(t, ctx, e, keys)
	if sound.channels() != 1 {
		t.Errorf("the recording of the room has %d channels", sound.channels())
	}
	if at := together(sound[0], append(guests, sixth)[:5]); at < 0 {
		t.Errorf("no second of the recording, %v long, has all five tones", sound.length())
	}
	if at := together(sound[0], append(guests[:4:4], sixth)); at < 0 {
		t.Error("the sixth is not in the recording")
	}
	noMedia(t, ctx, e)
}

// listed checks what operators see of a room.
func listed(t *testing.T, state api.ConferenceState, guests []*guest, moderator string) {
	t.Helper()
	for _, g := range guests {
		i := slices.IndexFunc(state.Members, func(m api.ConferenceMember) bool { return m.Number == g.number })
		if i < 0 {
			t.Fatalf("%s is not listed: %+v", g.number, state)
		}
		m := state.Members[i]
		if m.Moderator != (g.number == moderator) || m.Muted || m.Token == "" || m.Name == "" || m.ID == "" {
			t.Errorf("%s: %+v", g.number, m)
		}
		if joined := time.Since(time.UnixMilli(m.JoinedMS)); joined < -2*time.Second || joined > 3*time.Minute {
			t.Errorf("%s came %v ago", g.number, joined)
		}
	}
	if state.Node != "node-1" || state.Locked || state.Name != "meeting" {
		t.Errorf("the room: %+v", state)
	}
}

// muteAndKick mutes the last guest, lets it speak again, and puts it out.
func muteAndKick(t *testing.T, ctx context.Context, e *edge.Edge, guests []*guest) {
	t.Helper()
	last := guests[len(guests)-1]
	id := member(t, gathered(t, ctx, e, "meeting", len(guests)), last.number)
	if out := sipio(t, ctx, e, "conference", "mute", "meeting", id); !strings.Contains(out, "yes") {
		t.Errorf("nobody is muted:\n%s", out)
	}
	hearing(t, ctx, guests, last)
	if out := sipio(t, ctx, e, "conference", "unmute", "meeting", id); strings.Contains(out, "yes") {
		t.Errorf("somebody is muted:\n%s", out)
	}
	hearing(t, ctx, guests)
	sipio(t, ctx, e, "conference", "kick", "meeting", id)
	ended(t, ctx, last.call)
	out := sipio(t, ctx, e, "conference", "show", "meeting")
	if strings.Contains(out, last.number) || !strings.Contains(out, guests[0].number) || !strings.Contains(out, "moderator") {
		t.Errorf("after the kick:\n%s", out)
	}
	hearing(t, ctx, guests[:len(guests)-1])
}

// lockOut locks the room before a guest, and lets it in afterwards.
func lockOut(t *testing.T, ctx context.Context, e *edge.Edge, g *guest) {
	t.Helper()
	if out := sipio(t, ctx, e, "conference", "lock", "meeting"); !strings.Contains(out, "locked") {
		t.Errorf("not locked:\n%s", out)
	}
	attend(t, ctx, e, g, "800", "1234")
	g.call.SendTone(0)
	if err := g.call.HearSilence(ctx, 200*time.Millisecond); err != nil { // the PIN's prompt has ended: it takes 0.8 s to press the PIN
		t.Fatal(err)
	}
	speech(t, ctx, g.call, 500*time.Millisecond, "the sixth is not told that the room is locked")
	ended(t, ctx, g.call)
	if out := sipio(t, ctx, e, "conference", "unlock", "meeting"); strings.Contains(out, "locked") {
		t.Errorf("still locked:\n%s", out)
	}
	attend(t, ctx, e, g, "800", "1234")
}

// together is where in a recording a second begins that holds the tones of all guests, -1 when none does.
func together(samples []int16, guests []*guest) int {
	for at := 0; at+tone.Rate <= len(samples); at += tone.Rate / 4 {
		if !slices.ContainsFunc(guests, func(g *guest) bool { return tone.LevelAt(samples[at:at+tone.Rate], g.hz) < there }) {
			return at
		}
	}
	return -1
}

// A caller who gives a wrong PIN three times is told so each time, and is put out; he never was in the room.
func TestConference_WrongPINThreeTimesIsPutOut(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	ctx := within(t, 90*time.Second)
	inside, outside := &guest{number: "2011", hz: 437}, &guest{number: "2012", hz: 613}
	attend(t, ctx, e, inside, "800", "1234")
	gathered(t, ctx, e, "meeting", 1)
	attend(t, ctx, e, outside, "800", "1111")
	outside.call.SendTone(0)
	for range 2 {
		if err := outside.call.HearSilence(ctx, time.Second); err != nil {
			t.Fatal(err)
		}
		gathered(t, ctx, e, "meeting", 1)
		pressed(t, outside.call, "1111#")
		speech(t, ctx, outside.call, 300*time.Millisecond, "nobody says that the PIN is wrong")
	}
	ended(t, ctx, outside.call)
	gathered(t, ctx, e, "meeting", 1)
	if err := inside.call.Bye(ctx); err != nil {
		t.Error(err)
	}
	gathered(t, ctx, e, "meeting", 0)
}

// A room for two takes no third: he is told so and refused; when one has left there is room again.
func TestConference_FullRoomTakesNobody(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	ctx := within(t, 90*time.Second)
	a, b, c := &guest{number: "2011", hz: 437}, &guest{number: "2012", hz: 613}, &guest{number: "2013", hz: 839}
	attend(t, ctx, e, a, "803", "")
	gathered(t, ctx, e, "pair", 1)
	attend(t, ctx, e, b, "803", "")
	gathered(t, ctx, e, "pair", 2)
	hearing(t, ctx, []*guest{a, b})
	attend(t, ctx, e, c, "803", "")
	speech(t, ctx, c.call, 300*time.Millisecond, "the third is not told that the room is full")
	ended(t, ctx, c.call)
	if err := a.call.Bye(ctx); err != nil {
		t.Error(err)
	}
	gathered(t, ctx, e, "pair", 1)
	attend(t, ctx, e, c, "803", "")
	gathered(t, ctx, e, "pair", 2)
	hearing(t, ctx, []*guest{b, c})
	for _, g := range []*guest{b, c} {
		if err := g.call.Bye(ctx); err != nil {
			t.Error(err)
		}
	}
	noMedia(t, ctx, e)
}

// musicThere waits until the media server plays the platform's music, which the node agent brings: it looks every ten seconds.
func musicThere(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	eventually(t, ctx, "the platform's music", func() error {
		if list := mediaOrder(t, ctx, e, "local_stream show"); !strings.Contains(list, "moh,") {
			return fmt.Errorf("streams: %q", list)
		}
		return nil
	})
}

// Who comes before the moderator hears music and not the others; with the moderator all hear each other. In a room with
// only a moderator's PIN # alone lets a member in.
func TestConference_WaitsForTheModerator(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	ctx := within(t, 120*time.Second)
	musicThere(t, ctx, e)
	a, b, boss := &guest{number: "2011", hz: 437}, &guest{number: "2012", hz: 613}, &guest{number: "2013", hz: 839}
	for i, g := range []*guest{a, b} {
		g.call = dialUp(t, ctx, registered(t, e, g.number, realm("shop.test")), "802")
		speech(t, ctx, g.call, 300*time.Millisecond, "nobody asks for a PIN")
		pressed(t, g.call, "#")
		gathered(t, ctx, e, "lecture", i+1)
		g.call.SendTone(g.hz)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		samples, err := a.call.Listen(ctx, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		loud, other := tone.Loudness(samples), tone.LevelAt(samples, b.hz)
		if loud > tone.Silence && other < notThere {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("before the moderator: %.0f dBFS in all, the other at %.0f", loud, other)
		}
	}
	attend(t, ctx, e, boss, "802", "9999")
	gathered(t, ctx, e, "lecture", 3)
	hearing(t, ctx, []*guest{a, b, boss})
	for _, g := range []*guest{a, b, boss} {
		if err := g.call.Bye(ctx); err != nil {
			t.Error(err)
		}
	}
	noMedia(t, ctx, e)
}
