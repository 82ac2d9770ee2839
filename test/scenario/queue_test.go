package scenario

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

//go:embed testdata/queue.yaml
var line string

// What is heard in the queues of the account line.
const (
	musicHz   = 350
	whisperHz = 900
)

// lineSounds are the sounds of the account line, by the name of the media file.
var lineSounds = map[string]struct {
	hz     float64
	length time.Duration
}{"music": {musicHz, 20 * time.Second}, "whisper": {whisperHz, 1500 * time.Millisecond}}

// lineNode is a node with the account line, whose callers wait for agents.
type lineNode struct {
	*edge.Edge
	account string
	users   map[string]string // ids by username
	queues  map[string]string // ids by name
	untold  atomic.Int32      // transfers by key of which nobody could tell in time what became of them
}

func startLine(t *testing.T) *lineNode {
	t.Helper()
	return startLineWith(t, "", edge.Options{})
}

// startLineWith is startLine with more of the account, and another edge.
func startLineWith(t *testing.T, more string, opt edge.Options) *lineNode {
	t.Helper()
	opt.Config, opt.LogDecisions, opt.Media = line+more, true, true
	opt.NodeFlags = append(opt.NodeFlags, "--heartbeat-interval=500ms")
	e := start(t, opt)
	if err := e.WaitTrunk("127.0.0.9", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 10*time.Second)
	account, err := e.AccountID(ctx, "line")
	if err != nil {
		t.Fatal(err)
	}
	n := &lineNode{Edge: e, account: account, users: map[string]string{}, queues: map[string]string{}}
	n.list(t, ctx, "sip_users", func(r row) { n.users[r.Username] = r.ID })
	n.list(t, ctx, "queues", func(r row) { n.queues[r.Name] = r.ID })
	n.list(t, ctx, "media_files", func(r row) {
		sound := lineSounds[r.Name]
		if _, err := e.Request(ctx, http.MethodPut, "/v1/media_files/"+r.ID+"/content?account_id="+account, "audio/wav", []byte(wav(sound.hz, sound.length))); err != nil {
			t.Fatal(err)
		}
	})
	return n
}

type row struct{ ID, Name, Username string }

func (n *lineNode) list(t *testing.T, ctx context.Context, plural string, each func(row)) {
	t.Helper()
	body, err := n.Request(ctx, http.MethodGet, "/v1/"+plural+"?limit=500&account_id="+n.account, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var page struct{ Items []row }
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Items {
		each(r)
	}
}

// agent does what an agent's desktop does.
func (n *lineNode) agent(t *testing.T, ctx context.Context, username, action string) {
	t.Helper()
	body, err := json.Marshal(api.AgentRequest{UserID: n.users[username], Action: action})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Request(ctx, http.MethodPost, api.PathAgent+"?account_id="+n.account, "application/json", body); err != nil {
		t.Fatalf("%s %s: %v", username, action, err)
	}
}

// queue is a queue as people look at it.
func (n *lineNode) queue(ctx context.Context, name string) (api.QueueState, error) {
	body, err := n.Request(ctx, http.MethodGet, api.PathQueues+"?entries=true&account_id="+n.account, "", nil)
	if err != nil {
		return api.QueueState{}, err
	}
	var reply struct{ Queues []api.QueueState }
	if err := json.Unmarshal(body, &reply); err != nil {
		return api.QueueState{}, err
	}
	for _, q := range reply.Queues {
		if q.Name == name {
			return q, nil
		}
	}
	return api.QueueState{}, fmt.Errorf("no queue %s in %s", name, body)
}

// bucket waits until an agent is what people should see.
func (n *lineNode) bucket(t *testing.T, ctx context.Context, username, want string) {
	t.Helper()
	eventually(t, ctx, username+" to be "+want, func() error {
		body, err := n.Request(ctx, http.MethodGet, api.PathAgents+"?account_id="+n.account, "", nil)
		if err != nil {
			return err
		}
		var reply struct{ Agents []api.AgentState }
		if err := json.Unmarshal(body, &reply); err != nil {
			return err
		}
		for _, a := range reply.Agents {
			if a.UserID == n.users[username] && a.Bucket == want {
				return nil
			}
		}
		return fmt.Errorf("%s", body)
	})
}

// caller is somebody who waits in a queue and listens.
func (n *lineNode) caller(t *testing.T, ctx context.Context, from, number string) *phone.Call {
	t.Helper()
	c, err := trunkPhone(t, n.Edge, from).Call(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	c.SendTone(0)
	if _, err := c.HearTone(ctx, musicHz); err != nil {
		t.Fatalf("%s hears no music: %v", from, err)
	}
	return c
}

// waited is what a caller heard: the stretches without music, by what was heard instead. Music of less than 200 ms is
// a voice at the music's pitch.
func waited(samples []int16) (announcements, gaps []time.Duration) {
	const n = tone.Rate / 50
	var music, spoken, silent int // frames since the last stretch of music
	for i := 0; (i+1)*n <= len(samples); i++ {
		part := samples[i*n : (i+1)*n]
		switch {
		case tone.LevelAt(part, musicHz) > there:
			music++
		case tone.Loudness(part) > tone.Silence:
			spoken, music = spoken+music+1, 0
		default:
			spoken, silent, music = spoken+music, silent+1, 0
		}
		if music < 10 {
			continue
		}
		switch length := time.Duration(spoken+silent) * frame; {
		case time.Duration(spoken)*frame > 400*time.Millisecond:
			announcements = append(announcements, length)
		case length > 0:
			gaps = append(gaps, length)
		}
		spoken, silent = 0, 0
	}
	return announcements, gaps
}

// Two callers wait while nobody is there: both hear music without a gap, and once each their place. An agent signs in:
// her phone rings, she answers, the two hear each other, and go on doing so while the media server stands still. The
// second caller is told that he is next. The first hangs up; after her wrap-up the agent gets the second, and ends that
// call herself.
func TestQueue_OneCallerAfterTheOther(t *testing.T) {
	n := startLine(t)
	ctx := within(t, 90*time.Second)
	anna := registered(t, n.Edge, "3001", realm("line.test"))
	first := n.caller(t, ctx, "4930555", "4930700")
	firstHeard, heard := make(chan []int16, 1), make(chan []int16, 1)
	go func() { // at once: the first round is two seconds behind his coming
		samples, _ := first.Listen(ctx, 8*time.Second)
		firstHeard <- samples
	}()
	second := n.caller(t, ctx, "4930556", "4930700")
	go func() {
		samples, _ := second.Listen(ctx, 8*time.Second)
		heard <- samples
	}()
	for who, samples := range map[string][]int16{"first": <-firstHeard, "second": <-heard} {
		told, gaps := waited(samples)
		t.Logf("the %s caller was told %v, without music or word for %v", who, told, gaps)
		if len(told) != 1 {
			t.Errorf("the %s caller hears %d announcements %v in three rounds, want one: his place has not changed", who, len(told), told)
		}
		for _, gap := range gaps {
			if gap > 100*time.Millisecond {
				t.Errorf("the %s caller hears nothing for %v", who, gap)
			}
		}
	}

	go func() {
		samples, _ := second.Listen(ctx, 9*time.Second)
		heard <- samples
	}()
	up := answering(ctx, anna)
	asked := time.Now()
	n.agent(t, ctx, "3001", "login")
	a, ok := <-up
	if !ok {
		t.Fatal("Anna was not rung")
	}
	t.Logf("from the agent's login to her answer: %v", time.Since(asked).Round(time.Millisecond))
	talk(t, ctx, first, a)
	n.bucket(t, ctx, "3001", "incall")
	n.released(t, ctx)
	talk(t, ctx, first, a)
	n.withoutMediaServer(t, func() { talk(t, ctx, first, a) })

	if told, _ := waited(<-heard); len(told) != 1 {
		t.Errorf("the second caller, now the first, is told %v, want one announcement", told)
	}

	up = answering(ctx, anna)
	leaveAll(t, ctx, first)
	hungUp(t, ctx, "the agent's first call", a)
	n.bucket(t, ctx, "3001", "wrapup")
	if a, ok = <-up; !ok {
		t.Fatal("Anna was not rung for the second caller")
	}
	talk(t, ctx, second, a)
	leaveAll(t, ctx, a)
	hungUp(t, ctx, "the second caller", second)
	n.bucket(t, ctx, "3001", "ready")
	q, err := n.queue(ctx, "support")
	if f := q.Figures; err != nil || f.Offered != 2 || f.Answered != 2 || f.Abandoned != 0 || q.Waiting != 0 || q.Served != 0 {
		t.Errorf("figures %+v (%v)", q, err)
	}
	n.nothingLeft(t, ctx)
}

// sideBySide plays stories that have a node in common at once, each within a time; nothing is left of them.
func (n *lineNode) sideBySide(t *testing.T, limit time.Duration, stories map[string]func(*testing.T, context.Context, *lineNode)) {
	t.Helper()
	t.Run("each", func(t *testing.T) {
		for name, story := range stories {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story(t, within(t, limit), n)
			})
		}
	})
	n.nothingLeft(t, within(t, 30*time.Second))
}

// nothingLeft waits until no part has anything of a call.
func (n *lineNode) nothingLeft(t *testing.T, ctx context.Context) {
	t.Helper()
	noChannels(t, ctx, n.Edge)
	noDialogs(t, ctx, n.Edge)
	noMedia(t, ctx, n.Edge)
	noCalls(t, ctx, n.Edge)
}

// released waits until the media server knows that a talk goes past it: both phones have taken the offers that make it so.
func (n *lineNode) released(t *testing.T, ctx context.Context) {
	t.Helper()
	eventually(t, ctx, "two channels without media", func() error {
		body := mediaOrder(t, ctx, n.Edge, "show channels as json")
		if strings.Count(body, "CS_HIBERNATE") != 2 {
			return fmt.Errorf("channels: %s", body)
		}
		return nil
	})
}

// withoutMediaServer does something while the media server's process stands still.
func (n *lineNode) withoutMediaServer(t *testing.T, do func()) {
	t.Helper()
	if err := n.Media.Freeze(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Media.Thaw(); err != nil {
			t.Error(err)
		}
	}()
	do()
}
