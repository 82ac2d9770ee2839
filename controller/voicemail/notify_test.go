package voicemail

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// relay is a mail relay that answers each line as reply says, until it is closed, and hands over the letters.
func relay(t *testing.T, reply func(line string) string) (addr string, letters <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 8)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn, reply, got)
		}
	}()
	return l.Addr().String(), got
}

func serve(conn net.Conn, reply func(line string) string, got chan<- string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, "220 relay.test\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer := reply(strings.TrimSpace(line))
		_, _ = io.WriteString(conn, answer+"\r\n")
		if !strings.HasPrefix(answer, "354") {
			continue
		}
		var text strings.Builder
		for line != ".\r\n" && err == nil {
			if line, err = in.ReadString('\n'); line != ".\r\n" {
				text.WriteString(line)
			}
		}
		got <- text.String()
		_, _ = io.WriteString(conn, reply(".")+"\r\n")
	}
}

// friendly takes everything.
func friendly(line string) string {
	if line == "DATA" {
		return "354 go on"
	}
	return "250 ok"
}

// A caller whose number and name are made to look like headers leaves a message: the letter has the headers that it
// should and no other, and its text and the sound come out as they went in. The name of the box stands in no header.
func TestLetter_NothingOfTheCallerBecomesAHeader(t *testing.T) {
	const evil = "+49\r\nBcc: everybody@a.test\r\n\r\n<script>\x00 ü"
	box := &brain.Voicemail{Name: "ann\r\nX-Evil: 1", NotifyEmail: "ann@a.test"}
	msg := &brain.VoicemailMessage{ID: "msg_1", Caller: evil, CallerName: evil, DurationMS: 3499, CreatedTS: 1_760_000_000}
	sound := make([]byte, 1000)
	for i := range sound {
		sound[i] = byte(i)
	}
	m, err := mail.ReadMessage(strings.NewReader(string(letter("sipio@b.test", box, msg, sound))))
	if err != nil {
		t.Fatal(err)
	}
	for name := range m.Header {
		if !strings.Contains(" From To Subject Date Message-Id Mime-Version Content-Type ", " "+name+" ") {
			t.Errorf("there is a header %s: %q", name, m.Header[name])
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Voice message from "+evil || m.Header.Get("To") != "ann@a.test" {
		t.Errorf("to %s about %q: %v", m.Header.Get("To"), subject, err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"A voice message of 3 s from " + evil + " came for " + box.Name + " on 2025-10-09 08:53 UTC.\r\n", string(sound)} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part)); err != nil || string(got) != want {
			t.Errorf("a part says %q (%v), want %q", got, err, want)
		}
	}
	if part, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("there is one more part: %v", part)
	}
}

// Lines of a letter are at most 998 characters long and end in CR LF (RFC 5322 section 2.1.1), with a caller's name of
// any length; a withheld number is called so.
func TestLetter_LinesAreBounded(t *testing.T) {
	box := &brain.Voicemail{Name: strings.Repeat("n", 300), NotifyEmail: "ann@a.test"}
	for _, caller := range []string{"", strings.Repeat("9", 64), strings.Repeat("ü", 32)} {
		text := string(letter("sipio@b.test", box, &brain.VoicemailMessage{ID: "msg_1", Caller: caller}, nil))
		for line := range strings.Lines(text) {
			if len(line) > 998 || !strings.HasSuffix(line, "\r\n") || strings.Count(line, "\r") != 1 {
				t.Errorf("a line of %d characters: %q", len(line), line)
			}
		}
		if named := strings.Contains(text, "withheld"); named != (caller == "") {
			t.Errorf("caller %q, letter %s", caller, text)
		}
	}
}

// A message is told to the server and by mail. One way that fails keeps the other from nothing, and a sound that cannot
// be read keeps the mail from nothing either.
func TestTell_EachWayForItself(t *testing.T) {
	for _, c := range []struct {
		name        string
		prepare     func(o *office)
		fails       string
		posts, mail int
	}{
		{"both", func(*office) {}, "", 1, 1},
		{"server says no", func(o *office) { o.postErr = errors.New("500 of the server") }, "500 of the server", 1, 1},
		{"no relay", func(o *office) { o.Mail.Server = "127.0.0.1:1" }, "mail relay", 1, 0},
		{"sound is gone", func(o *office) { o.objects = map[string]string{} }, "", 1, 1},
		{"nobody to tell", func(o *office) { o.rows.Voicemails[0].NotifyURL, o.rows.Voicemails[0].NotifyEmail = "", "" }, "", 0, 0},
	} {
		o := open()
		addr, letters := relay(t, friendly)
		o.Mail = Mail{Server: addr, From: "sipio@b.test"}
		o.rows.Voicemails[0].NotifyEmail, o.rows.Voicemails[0].AttachRecording = "ann@a.test", true
		msg := o.message("msg_1")
		c.prepare(o)
		err := o.tellOf(t.Context(), &o.rows.Voicemails[0], msg)
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.fails)
		}
		if len(o.posts) != c.posts || len(letters) != c.mail {
			t.Errorf("%s: %d posts, %d letters; want %d and %d", c.name, len(o.posts), len(letters), c.posts, c.mail)
		}
		if len(letters) > 0 && strings.Contains(<-letters, "audio/wav") != (c.name != "sound is gone") {
			t.Errorf("%s: the sound is there, or is not", c.name)
		}
	}
}

// The server outside gets who called, when, and how long he spoke.
func TestTell_WhatTheServerGets(t *testing.T) {
	o := open()
	msg := o.message("msg_1")
	if err := o.tellOf(t.Context(), &o.rows.Voicemails[0], msg); err != nil {
		t.Fatal(err)
	}
	var got event
	if err := json.Unmarshal([]byte(o.posts[0]), &got); err != nil {
		t.Fatal(err)
	}
	want := event{"voicemail.message", "acc_1", "vm_1", "msg_1", "4930555", "", 3100, 1_760_000_000}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Relays that refuse, speak nonsense, hang up or say nothing are errors, the last within the time that is left.
func TestMail_RelayThatDoesNotTakeIt(t *testing.T) {
	refusing := func(verb, answer string) func(string) string {
		return func(line string) string {
			if strings.HasPrefix(line, verb) {
				return answer
			}
			return friendly(line)
		}
	}
	for name, reply := range map[string]func(string) string{
		"sender":    refusing("MAIL", "550 not you"),
		"recipient": refusing("RCPT", "550 nobody here"),
		"letter":    refusing(".", "552 too large"),
		"nonsense":  func(string) string { return "hello" },
	} {
		addr, _ := relay(t, reply)
		if err := (Mail{Server: addr, From: "sipio@b.test"}).send(t.Context(), "ann@a.test", []byte("Subject: x\r\n\r\nx\r\n")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and is silent
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := (Mail{Server: l.Addr().String(), From: "sipio@b.test"}).send(ctx, "ann@a.test", nil); err == nil {
		t.Error("a silent relay: no error")
	}
	if err := (Mail{Server: "127.0.0.1:1", From: "sipio@b.test"}).send(t.Context(), "ann@a.test\r\nRCPT TO:<x@a.test>", nil); err == nil {
		t.Error("an address of two lines: no error")
	}
}
