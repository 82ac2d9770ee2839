package scenario

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

//go:embed testdata/voicemail.yaml
var boxes string

const (
	beepHz  = 800 // before a recording
	voiceHz = 440 // what callers say here
)

// boxEdge is a node of the account shop whose mailboxes tell of their messages, and boxPost who is told.
var (
	boxEdge *edge.Edge
	boxPost *postOffice
)

func boxNode(t *testing.T) (*edge.Edge, *postOffice) {
	t.Helper()
	if boxEdge != nil {
		return boxEdge, boxPost
	}
	post, err := openPostOffice()
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.Start(context.Background(), edge.Options{Config: shop, LogDecisions: true, Media: true,
		NodeFlags:  []string{"--heartbeat-interval=500ms"},
		BrainFlags: []string{"--flow-ca-file=" + post.caFile, "--flow-allow-nets=127.0.0.0/8", "--mail-server=" + post.mail.Addr().String()}})
	if err == nil {
		err = e.Apply(context.Background(), strings.ReplaceAll(boxes, "HOOK", post.web.URL+"/messages"))
		if err == nil {
			err = e.WaitTrunk("127.0.0.9", 10*time.Second)
		}
		if err == nil {
			err = upload(e, "greeting", []byte(wav(soundTones["greeting"], 600*time.Millisecond)))
		}
		if err != nil {
			e.Stop()
		}
	}
	if err != nil {
		post.close()
		t.Fatal(err)
	}
	boxEdge, boxPost = e, post
	return e, post
}

// stopBoxes stops what boxNode started.
func stopBoxes() {
	if boxEdge != nil {
		boxEdge.Stop()
		boxPost.close()
	}
}

// message is a voicemail_message as operators read it.
type message struct {
	ID, Caller  string
	VoicemailID string `json:"voicemail_id"`
	DurationMS  int    `json:"duration_ms"`
	ObjectKey   string `json:"object_key"`
	Bytes       int
	Read        bool
}

// messages are those of a mailbox of the account shop, by its name.
func messages(e *edge.Edge, box string) (list []message, err error) {
	id, account, err := shopID(e, "voicemails", box)
	if err != nil {
		return nil, err
	}
	body, err := e.Request(context.Background(), http.MethodGet, "/v1/voicemail_messages?limit=500&account_id="+account+"&voicemail_id="+id, "", nil)
	if err != nil {
		return nil, err
	}
	var page struct{ Items []message }
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, err
	}
	for _, m := range page.Items {
		if m.VoicemailID == id {
			list = append(list, m)
		}
	}
	return list, nil
}

// emptied deletes what earlier tests left in a mailbox, as an operator does.
func emptied(t *testing.T, ctx context.Context, e *edge.Edge, box string) {
	t.Helper()
	list, err := messages(e, box)
	for _, m := range list {
		account, _, _ := strings.Cut(m.ObjectKey, "/")
		if err == nil {
			_, err = e.Request(ctx, http.MethodDelete, "/v1/voicemail_messages/"+m.ID+"?account_id="+account, "", nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// arrived waits until a mailbox has n messages.
func arrived(t *testing.T, ctx context.Context, e *edge.Edge, box string, n int) (list []message) {
	t.Helper()
	eventually(t, ctx, fmt.Sprintf("%d messages of %s", n, box), func() (err error) {
		if list, err = messages(e, box); err == nil && len(list) != n {
			err = fmt.Errorf("there are %d: %+v", len(list), list)
		}
		return err
	})
	return list
}

// recorded reads the sound of a message as the account does: samples at tone.Rate.
func recorded(e *edge.Edge, key string) ([]int16, error) {
	account, _, _ := strings.Cut(key, "/")
	file, err := e.Request(context.Background(), http.MethodGet, "/v1/objects/"+key+"?account_id="+account, "", nil)
	if err != nil {
		return nil, err
	}
	return wavSamples(file)
}

// wavSamples are those of a WAV file of one channel, 16 bits, at tone.Rate.
func wavSamples(file []byte) ([]int16, error) {
	at := bytes.Index(file, []byte("data"))
	if len(file) < 44 || at < 0 || binary.LittleEndian.Uint16(file[22:]) != 1 || binary.LittleEndian.Uint32(file[24:]) != tone.Rate {
		return nil, fmt.Errorf("no WAV file of one channel and %d Hz: % x", tone.Rate, file[:min(48, len(file))])
	}
	body := file[at+8:]
	samples := make([]int16, len(body)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(body[2*i:]))
	}
	return samples, nil
}

// voiceOnly fails unless a recording lasts as long as was spoken into it and then waited, within a second and a half, and
// holds the caller's tone for as long as he spoke, and nothing else: no greeting, no beep.
func voiceOnly(t *testing.T, samples []int16, spoken, waited time.Duration) {
	t.Helper()
	const frame = tone.Rate / 50
	var voice, other int
	for at := 0; at+frame <= len(samples); at += frame {
		piece := samples[at : at+frame]
		switch loud := tone.Loudness(piece); {
		case loud <= tone.Silence:
		case tone.LevelAt(piece, voiceHz) > loud-1.5:
			voice++
		default:
			other++
		}
	}
	const ms = 20
	t.Logf("%d ms: %d of the voice, %d of something else; spoken %v, then silent %v", len(samples)*1000/tone.Rate, voice*ms, other*ms, spoken, waited)
	if off := len(samples)*1000/tone.Rate - int((spoken + waited).Milliseconds()); off < -1500 || off > 1500 {
		t.Errorf("the recording is %d ms off", off)
	}
	if off := voice*ms - int(spoken.Milliseconds()); off < -1500 || off > 1500 {
		t.Errorf("what was spoken is %d ms off in the recording", off)
	}
	if other*ms > 100 {
		t.Errorf("%d ms in the recording are not the caller's", other*ms)
	}
}

// speak waits for the beep, says a tone for d with silence at the other end, and returns how long it really was.
func speak(t *testing.T, ctx context.Context, c *phone.Call, d time.Duration) time.Duration {
	t.Helper()
	heard, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	if _, err := c.HearTone(heard, beepHz); err != nil {
		t.Fatalf("no beep: %v", err)
	}
	c.SendTone(voiceHz)
	began := time.Now()
	if err := c.HearSilence(ctx, d); err != nil {
		t.Fatalf("while the caller speaks: %v", err)
	}
	c.SendTone(0)
	return time.Since(began)
}

// lamp waits until a phone is told these counts, "unheard/heard", and that the lamp is on for unheard ones.
func lamp(t *testing.T, ctx context.Context, p *phone.Phone, want string) {
	t.Helper()
	waiting := "Messages-Waiting: yes"
	if strings.HasPrefix(want, "0/") {
		waiting = "Messages-Waiting: no"
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var last string
	for {
		select {
		case last = <-p.MessageWaiting():
			if strings.Contains(last, "Voice-Message: "+want) && strings.HasPrefix(last, waiting+"\r\n") {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%s is not told %s, %s; last: %q", p.AOR(), waiting, want, last)
		}
	}
}

// speech waits until something was said for d.
func speech(t *testing.T, ctx context.Context, c *phone.Call, d time.Duration, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := c.HearSound(ctx, d); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// dialUp calls and sends silence.
func dialUp(t *testing.T, ctx context.Context, p *phone.Phone, target string) *phone.Call {
	t.Helper()
	c, err := p.Call(ctx, target)
	if err != nil {
		t.Fatalf("call %s: %v", target, err)
	}
	c.SendTone(0)
	return c
}

// pressed sends digits as events.
func pressed(t *testing.T, c *phone.Call, digits string) {
	t.Helper()
	if err := c.SendDigits(digits); err != nil {
		t.Fatal(err)
	}
}

// ended waits until the platform has hung up.
func ended(t *testing.T, ctx context.Context, c *phone.Call) {
	t.Helper()
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Fatal("the platform does not hang up")
	}
}
