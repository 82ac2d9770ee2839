package scenario

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
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

// voiceOnly fails unless a recording lasts as long as was spoken into it and then waited, within half a second, and
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
	if off := len(samples)*1000/tone.Rate - int((spoken + waited).Milliseconds()); off < -500 || off > 500 {
		t.Errorf("the recording is %d ms off", off)
	}
	if off := voice*ms - int(spoken.Milliseconds()); off < -500 || off > 500 {
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

// A caller from the telephone network chooses the mailbox in the menu, hears its greeting and the beep, speaks for
// three seconds and hangs up. The recording is what was said and nothing else. Both phones of the owner show it, and
// a third as soon as it registers; a server is told of it, and a mail brings the sound.
func TestVoicemail_MessageFromTheMenuIsToldToAll(t *testing.T) {
	e, post := boxNode(t)
	tails(t, e)
	ctx := within(t, 90*time.Second)
	phones := []*phone.Phone{registered(t, e, "2001", realm("shop.test")), registered(t, e, "2001b", realm("shop.test"))}
	c := dialUp(t, ctx, trunkPhone(t, e, "4930777"), "493012345")
	hear(t, ctx, c, "greeting")
	pressed(t, c, "3")
	speech(t, ctx, c, time.Second, "the greeting of the mailbox")
	spoken := speak(t, ctx, c, 3*time.Second)
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	msg := arrived(t, ctx, e, "dora", 1)[0]
	samples, err := recorded(e, msg.ObjectKey)
	if err != nil {
		t.Fatal(err)
	}
	voiceOnly(t, samples, spoken, 0)
	if off := msg.DurationMS - len(samples)*1000/tone.Rate; off < -500 || off > 500 || !strings.HasSuffix(msg.Caller, "4930777") {
		t.Errorf("the recording has %d samples, the message says %+v", len(samples), msg)
	}
	for _, p := range append(phones, registered(t, e, "2001c", realm("shop.test"))) {
		lamp(t, ctx, p, "1/0")
	}
	told(t, ctx, post, msg)
	noMedia(t, ctx, e)
}

// told waits for the request and the mail about a message, and reads them.
func told(t *testing.T, ctx context.Context, post *postOffice, msg message) {
	t.Helper()
	var body string
	var got letter
	for body == "" || got.text == "" {
		select {
		case body = <-post.posts:
		case got = <-post.letters:
		case <-ctx.Done():
			t.Fatalf("nobody was told: %q %q", body, got.text)
		}
	}
	var event map[string]any
	if err := json.Unmarshal([]byte(body), &event); err != nil || event["event"] != "voicemail.message" || event["message_id"] != msg.ID ||
		event["caller"] != msg.Caller || event["duration_ms"] != float64(msg.DurationMS) {
		t.Errorf("the server was told %s of %+v (%v)", body, msg, err)
	}
	m, err := mail.ReadMessage(strings.NewReader(got.text))
	if err != nil {
		t.Fatalf("no letter: %v\n%s", err, got.text)
	}
	if got.to != "<dora@shop.test>" || m.Header.Get("Subject") != "Voice message from "+msg.Caller {
		t.Errorf("the letter to %s is about %q", got.to, m.Header.Get("Subject"))
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatalf("the letter has no sound: %v", err)
		}
		if part.Header.Get("Content-Type") != "audio/wav" {
			continue
		}
		file, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil || len(file) != msg.Bytes {
			t.Errorf("the sound of the letter has %d bytes, the message %d: %v", len(file), msg.Bytes, err)
		}
		return
	}
}

// Nobody answers at Emil's, or Emil is busy: his mailbox takes the message, and it ends by the hash key, or by
// silence, whose seconds are in it. His mailbox has no PIN: his own phone opens it, without a question, and nobody
// else's does.
func TestVoicemail_EndsByKeyOrSilenceAndOpensToItsOwner(t *testing.T) {
	e, _ := boxNode(t)
	tails(t, e)
	ctx := within(t, 120*time.Second)
	emil, kurt := registered(t, e, "2002", realm("shop.test")), registered(t, e, "2005", realm("shop.test"))
	go func() {
		<-emil.Incoming() // rings, and nobody is there
		select {
		case in := <-emil.Incoming():
			_ = in.Reject(486, "Busy Here")
		case <-ctx.Done():
		}
	}()
	for i, how := range []struct {
		name, key string
		silence   time.Duration
	}{{"no answer, hash key", "#", 0}, {"busy, silence", "", 4 * time.Second}} {
		c := dialUp(t, ctx, kurt, "2002")
		speech(t, ctx, c, time.Second, how.name+": the greeting of the mailbox")
		spoken := speak(t, ctx, c, 3*time.Second)
		if how.key != "" {
			pressed(t, c, how.key)
		}
		speech(t, ctx, c, 500*time.Millisecond, how.name+": that the message was saved")
		ended(t, ctx, c)
		list := arrived(t, ctx, e, "emil", i+1)
		samples, err := recorded(e, list[i].ObjectKey)
		if err != nil {
			t.Fatal(err)
		}
		voiceOnly(t, samples, spoken, how.silence)
		lamp(t, ctx, emil, fmt.Sprintf("%d/0", i+1))
	}
	c := dialUp(t, ctx, emil, "*97")
	if _, err := c.HearTone(ctx, voiceHz); err != nil {
		t.Errorf("the owner's phone: %v", err)
	}
	pressed(t, c, "#")
	ended(t, ctx, c)
	refused(t, ctx, kurt, "853", 403)
	noMedia(t, ctx, e)
}

// The owner of a mailbox hears on his phone, after the right PIN, what was left; what he keeps goes out of the lamp's
// first count into its second, what he deletes goes out of both, and its sound is gone.
func TestVoicemail_OwnerListensKeepsAndDeletes(t *testing.T) {
	e, _ := boxNode(t)
	tails(t, e)
	ctx := within(t, 120*time.Second)
	kurt, dora := registered(t, e, "2005", realm("shop.test")), registered(t, e, "2001", realm("shop.test"))
	c := dialUp(t, ctx, dora, "850")
	speak(t, ctx, c, 2*time.Second)
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	msg := arrived(t, ctx, e, "kurt", 1)[0]
	lamp(t, ctx, kurt, "1/0")
	for _, visit := range []struct{ key, lamp string }{{"2", "0/1"}, {"3", "0/0"}} {
		c := dialUp(t, ctx, kurt, "*97")
		speech(t, ctx, c, 500*time.Millisecond, "the question for the PIN")
		pressed(t, c, "4711#")
		if _, err := c.HearTone(ctx, voiceHz); err != nil {
			t.Fatalf("the message: %v", err)
		}
		pressed(t, c, visit.key)
		lamp(t, ctx, kurt, visit.lamp)
		speech(t, ctx, c, 500*time.Millisecond, "that there are no more messages")
		ended(t, ctx, c)
	}
	if list := arrived(t, ctx, e, "kurt", 0); len(list) != 0 {
		t.Errorf("there are still %+v", list)
	}
	if _, err := recorded(e, msg.ObjectKey); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("the sound of a deleted message: %v", err)
	}
	noMedia(t, ctx, e)
}

// Three wrong PINs end a call. After five within ten minutes the mailbox is locked: the right PIN, which let the
// message be heard before, opens it no more, neither in that call nor in the next one, which is over without a
// question.
func TestVoicemail_WrongPINsLockTheMailbox(t *testing.T) {
	e, _ := boxNode(t)
	tails(t, e)
	ctx := within(t, 120*time.Second)
	gerd, dora := registered(t, e, "2006", realm("shop.test")), registered(t, e, "2001", realm("shop.test"))
	c := dialUp(t, ctx, dora, "851")
	speak(t, ctx, c, 2*time.Second)
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	arrived(t, ctx, e, "gerd", 1)
	for _, visit := range []struct {
		what string
		pins []string
		open bool
	}{
		{"the right PIN", []string{"1357#"}, true},
		{"three wrong ones", []string{"1111#", "2222#", "3333#"}, false},
		{"two more and the right one", []string{"4444#", "5555#", "1357#"}, false},
		{"nothing at a locked box", nil, false},
	} {
		c := dialUp(t, ctx, gerd, "*97")
		began, heard := time.Now(), make(chan error, 1)
		go func() { _, err := c.HearTone(ctx, voiceHz); heard <- err }()
		for range visit.pins {
			speech(t, ctx, c, 500*time.Millisecond, visit.what+": the question")
			pressed(t, c, visit.pins[0])
			visit.pins = visit.pins[1:]
		}
		err := <-heard // also when the call ends
		if open := err == nil; open != visit.open {
			t.Errorf("%s: the message is heard: %v, want %v (%v)", visit.what, open, visit.open, err)
		}
		if visit.open {
			pressed(t, c, "#")
		}
		ended(t, ctx, c)
		if took := time.Since(began); took > 20*time.Second { // three questions without an answer last longer
			t.Errorf("%s: the call lasted %v", visit.what, took)
		}
	}
	noMedia(t, ctx, e)
}

// Callers fill a mailbox of one megabyte, all at once. The next one is told that it is full, hears no beep, and
// nothing of him is kept.
func TestVoicemail_FullBoxTakesNothing(t *testing.T) {
	e, _ := boxNode(t)
	tails(t, e)
	ctx := within(t, 120*time.Second)
	dora := registered(t, e, "2001", realm("shop.test"))
	const callers = 4 // of 18 s, 16 kB each: 1.15 MB
	var calls []*phone.Call
	for range callers {
		calls = append(calls, dialUp(t, ctx, dora, "852"))
	}
	spoken := make(chan error, callers)
	for _, c := range calls {
		go func() {
			_, err := c.HearTone(ctx, beepHz)
			c.SendTone(voiceHz)
			if err == nil {
				err = c.HearSilence(ctx, 18*time.Second)
			}
			spoken <- err
		}()
	}
	for range callers {
		if err := <-spoken; err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range calls {
		if err := c.Bye(ctx); err != nil {
			t.Error(err)
		}
	}
	total := 0
	for _, m := range arrived(t, ctx, e, "small", callers) {
		total += m.Bytes
	}
	if total < 1<<20 {
		t.Fatalf("the messages have %d bytes: the box is not full", total)
	}
	c := dialUp(t, ctx, dora, "852")
	c.SendTone(voiceHz)
	samples, _ := c.Listen(ctx, time.Minute) // to the end of the call
	ended(t, ctx, c)
	var loud, beep int
	for at := 0; at+tone.Rate/20 <= len(samples); at += tone.Rate / 20 {
		piece := samples[at : at+tone.Rate/20]
		if l := tone.Loudness(piece); l > tone.Silence {
			loud++
			if tone.LevelAt(piece, beepHz) > l-1 {
				beep++
			}
		}
	}
	if loud < 20 || beep > 3 {
		t.Errorf("heard %d pieces of 50 ms, %d of them a beep", loud, beep)
	}
	arrived(t, ctx, e, "small", callers)
	noMedia(t, ctx, e)
}
