package esl

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// played is what a recording held.
type played struct {
	kinds   map[string]int
	events  []*Event
	replies []Reply
	notices []string
}

// play reads a stream to its end as a Conn would. Everything that cannot be read is an error.
func play(r io.Reader) (played, error) {
	p := played{kinds: map[string]int{}}
	in := newFrames(r)
	for {
		f, err := in.next()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		p.kinds[f.contentType]++
		var e *Event
		switch f.contentType {
		case "text/event-plain":
			e, err = parsePlain(string(f.body))
		case "text/event-json":
			e, err = parseJSON(f.body)
		case "command/reply", "api/response":
			var r Reply
			r, err = readReply(&f, f.get("Event-Name") != "")
			p.replies = append(p.replies, r)
		case "text/disconnect-notice":
			p.notices = append(p.notices, f.get("Content-Disposition"))
		}
		if err != nil {
			return p, fmt.Errorf("frame %d: %w", len(p.kinds), err)
		}
		if e != nil {
			p.events = append(p.events, e)
		}
	}
}

func TestRecordings_ParseToTheLastByte(t *testing.T) {
	// Proves that everything a real FreeSWITCH sent is understood: each recording is read whole and byte by byte,
	// nothing is left over or unreadable, and the frames of all are as many as a plain text search counts.
	paths, err := filepath.Glob("testdata/*.fs-to-app.txt")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d recordings, %v", len(paths), err)
	}
	kinds, searched := map[string]int{}, map[string]int{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		whole, err := play(strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		slow, err := play(iotest.OneByteReader(strings.NewReader(text)))
		if err != nil || !maps.Equal(slow.kinds, whole.kinds) || len(slow.events) != len(whole.events) {
			t.Errorf("%s byte by byte: %v, %v against %v", path, err, slow.kinds, whole.kinds)
		}
		for kind, n := range whole.kinds {
			kinds[kind] += n
		}
		for line := range strings.Lines(text) {
			if _, kind, ok := strings.Cut(line, "Content-Type: "); ok { // api bodies may end without a line feed
				searched[strings.TrimSpace(kind)]++
			}
		}
		for i, e := range whole.events {
			checkRecorded(t, fmt.Sprintf("%s event %d", path, i), e)
		}
	}
	if !maps.Equal(kinds, searched) {
		t.Errorf("frames read %v, counted in the text %v", kinds, searched)
	}
}

// checkRecorded holds an event to what every one of FreeSWITCH has.
func checkRecorded(t *testing.T, where string, e *Event) {
	t.Helper()
	if e.Name() == "" || e.Get("Core-UUID") == "" || e.Get("Event-Sequence") == "" {
		t.Errorf("%s: incomplete: %q", where, e.Name())
	}
	lengths := e.Values("Content-Length")
	if len(lengths) == 0 {
		if len(e.Body()) != 0 {
			t.Errorf("%s: body without a length: %q", where, e.Body())
		}
		return
	}
	if n, err := strconv.Atoi(lengths[0]); err != nil || n != len(e.Body()) {
		t.Errorf("%s: Content-Length %s, body of %d bytes", where, lengths[0], len(e.Body()))
	}
}

func TestRecordings_CutAnywhereEndsInAnError(t *testing.T) {
	// Proves that a stream cut inside a frame is never taken for a whole one: recordings are cut at every byte (large
	// ones at every 997th), and the end is clean at exactly the places where the text says a frame ends.
	for _, name := range []string{"in-auth-bad", "in-pipelined", "in-log", "in-sendevent", "in-rude-rejection", "out-ivr-json"} {
		text := recording(t, name+".fs-to-app.txt")
		step := 1
		if len(text) > 20_000 {
			step = 997
		}
		ends := frameEnds(t, text)
		clean := 0
		for cut := 0; cut <= len(text); cut += step {
			_, err := play(strings.NewReader(text[:cut]))
			switch {
			case err == nil && !ends[cut], err != nil && (ends[cut] || !errors.Is(err, io.ErrUnexpectedEOF)):
				t.Fatalf("%s cut at %d: %v; a frame ends here: %v", name, cut, err, ends[cut])
			case err == nil:
				clean++
			}
		}
		if step == 1 && clean < 3 {
			t.Errorf("%s: only %d clean ends", name, clean)
		}
	}
}

// frameEnds finds where frames end, by text search and arithmetic of its own.
func frameEnds(t *testing.T, text string) map[int]bool {
	t.Helper()
	ends := map[int]bool{0: true}
	for at := 0; at < len(text); {
		head := strings.Index(text[at:], "\n\n")
		if head < 0 {
			t.Fatalf("no end of headers after %d", at)
		}
		length := 0
		for line := range strings.SplitSeq(text[at:at+head], "\n") {
			if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				length, _ = strconv.Atoi(v)
			}
		}
		at += head + 2 + length
		ends[at] = true
	}
	return ends
}

func TestRecordings_ConnectReplyIsTheChannel(t *testing.T) {
	// Proves that the reply to connect is decoded: compared header for header with the decoded copy that was recorded.
	for _, name := range []string{"out-ivr-plain", "out-ivr-json"} {
		p, err := play(strings.NewReader(recording(t, name+".fs-to-app.txt")))
		if err != nil || len(p.replies) == 0 || p.replies[0].Event == nil {
			t.Fatalf("%s: no channel in the first reply: %v", name, err)
		}
		channel := p.replies[0].Event
		if channel.Name() != "CHANNEL_DATA" || channel.UUID() == "" || p.replies[0].Text != "+OK" || channel.Variable("sip_h_X-Queue-Id") != "sales/eu-1" {
			t.Errorf("%s: %q %q %q %q", name, channel.Name(), channel.UUID(), p.replies[0].Text, channel.Variable("sip_h_X-Queue-Id"))
		}
		if got := channel.Values("variable_DP_MATCH"); !slices.Equal(got, []string{"8084", "8084"}) {
			t.Errorf("%s: array %q", name, got)
		}
		if name == "out-ivr-json" {
			continue // another call: the decoded copy is of the first
		}
		compared := 0
		for line := range strings.Lines(recording(t, "out-ivr-plain.connect-vars.txt")) {
			header, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !ok || strings.HasPrefix(want, "ARRAY::") || header == "Reply-Text" || header == "variable_switch_r_sdp" {
				continue // an array, or more than a line
			}
			if got := channel.Get(header); got != want {
				t.Errorf("%s = %q, want %q", header, got, want)
			}
			compared++
		}
		if sdp := channel.Variable("switch_r_sdp"); !strings.HasPrefix(sdp, "v=0\r\n") || !strings.Contains(sdp, "\r\nm=audio") {
			t.Errorf("SDP %q", sdp)
		}
		if compared < 140 {
			t.Errorf("only %d headers compared", compared)
		}
	}
}

func TestRecordings_PlainAndJSONSayTheSame(t *testing.T) {
	// Proves that both formats give the same events: the same call was recorded in each, and the names of events and of
	// their headers, with all arrays and duplicates, are compared one by one.
	for _, pair := range [][2]string{{"in-events-plain", "in-events-json"}, {"out-ivr-plain", "out-ivr-json"}} {
		var shapes [2][]string
		for i, name := range pair {
			p, err := play(strings.NewReader(recording(t, name+".fs-to-app.txt")))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range p.events {
				shapes[i] = append(shapes[i], e.Name()+" "+e.Subclass()+" "+strings.Join(headerNames(e), ","))
			}
		}
		if len(shapes[0]) < 10 || len(shapes[0]) != len(shapes[1]) {
			t.Fatalf("%v: %d and %d events", pair, len(shapes[0]), len(shapes[1]))
		}
		for i := range shapes[0] {
			if shapes[0][i] != shapes[1][i] {
				t.Errorf("%v event %d:\n%s\n%s", pair, i, shapes[0][i], shapes[1][i])
			}
		}
	}
}

func headerNames(e *Event) []string {
	var names []string
	for name := range e.All() {
		names = append(names, name)
	}
	return names
}

func TestRecordings_LingerIsNotTheEnd(t *testing.T) {
	// Proves the two notices of an outbound call apart: the linger recording has one of each, in this order.
	p, err := play(strings.NewReader(recording(t, "out-ivr-plain.fs-to-app.txt")))
	if err != nil || !slices.Equal(p.notices, []string{"linger", "disconnect"}) {
		t.Errorf("notices %q, %v", p.notices, err)
	}
}
