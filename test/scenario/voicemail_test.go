package scenario

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// A caller from the telephone network chooses the mailbox in the menu, hears its greeting and the beep, speaks for
// three seconds and hangs up. The recording is what was said and nothing else. Both phones of the owner show it, and
// a third as soon as it registers; a server is told of it, and a mail brings the sound.
func TestVoicemail_MessageFromTheMenuIsToldToAll(t *testing.T) {
	e, post := boxNode(t)
	tails(t, e)
	ctx := within(t, 90*time.Second)
	emptied(t, ctx, e, "dora")
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
	emptied(t, ctx, e, "emil")
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
	emptied(t, ctx, e, "kurt")
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
	emptied(t, ctx, e, "gerd")
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
	emptied(t, ctx, e, "small")
	dora := registered(t, e, "2001", realm("shop.test"))
	const callers = 4 // of 18 s, 16 kB each: 1.15 MB
	var calls []*phone.Call
	spoken := make(chan error, callers)
	for range callers {
		c := dialUp(t, ctx, dora, "852")
		calls = append(calls, c)
		go func() { // at once: the others take their time
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
