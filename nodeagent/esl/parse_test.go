package esl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestParsePlain_DecodesValuesArraysAndDuplicates(t *testing.T) {
	// Proves what FreeSWITCH's plain format holds besides simple headers; each line of the event is one case.
	e, err := parsePlain("Event-Name: CUSTOM\nEvent-Subclass: conference%3A%3Amaintenance\nUnique-ID: u1\n" +
		"variable_sdp: v%3D0%0D%0Am%3Daudio\nvariable_list: ARRAY%3A%3Aone%7C%3Atwo%20b%7C%3A\n" +
		"Hangup-Cause: A\nHangup-Cause: B\nEmpty: \nOdd: 100%, %zz %4\nunique-id: lower\n\nbody\n\nwith an empty line")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{e.Name(), e.Subclass(), e.UUID(), e.Variable("sdp"), e.Values("variable_list"), e.Variable("list"), e.Values("Hangup-Cause"),
		e.Get("Hangup-Cause"), e.Values("Empty"), e.Get("Odd"), e.Get("unique-id"), e.Get("Absent"), e.Values("Absent"), string(e.Body()), e.Lost()}
	want := []any{"CUSTOM", "conference::maintenance", "u1", "v=0\r\nm=audio", []string{"one", "two b", ""}, "one", []string{"A", "B"},
		"A", []string{""}, "100%, %zz %4", "lower", "", []string(nil), "body\n\nwith an empty line", 0}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%d: %q, want %q", i, got[i], want[i])
		}
	}
}

func TestParseJSON_KeepsArraysDuplicatesAndOrder(t *testing.T) {
	// Proves what a decode into a map would lose, and that escapes and white space are JSON's.
	e, err := parseJSON([]byte(` { "Event-Name" : "X\u00e4\"\\", "Hangup-Cause":"A", "list":["1","2 \n",""],"Hangup-Cause":"B","n":-1.5e3,"yes":true,"none":null,"empty":[],"_body":"+OK\n" } `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, value := range e.All() {
		got = append(got, name+"="+value)
	}
	want := []string{`Event-Name=Xä"\`, "Hangup-Cause=A", "list=1", "list=2 \n", "list=", "Hangup-Cause=B", "n=-1.5e3", "yes=true", "none=null"}
	if !slices.Equal(got, want) || string(e.Body()) != "+OK\n" {
		t.Errorf("%q, body %q", got, e.Body())
	}
}

func TestParse_RefusesWhatIsNoEvent(t *testing.T) {
	// Proves that an event which is not one is an error with a reason, in both formats.
	many := strings.Repeat("a: b\n", MaxHeaders+1)
	for _, text := range []string{"", "\n\n", "no colon\n\n", ": no name\n\n", many, "a: ARRAY::" + strings.Repeat("|:", MaxHeaders+1)} {
		if e, err := parsePlain(text); err == nil {
			t.Errorf("plain %.40q gave %v", text, e)
		}
	}
	large := `{"a":[` + strings.Repeat(`"",`, MaxHeaders) + `""]}`
	for _, text := range []string{"", "{", `{}`, `[]`, `"x"`, `{"a":{"b":"c"}}`, `{"a":[["b"]]}`, `{"a":"b"} x`, `{"a":"b\"}`, large} {
		if e, err := parseJSON([]byte(text)); err == nil {
			t.Errorf("JSON %.40q gave %v", text, e)
		}
	}
}

func TestFrames_RefuseWhatIsBeyondTheirLimits(t *testing.T) {
	// Proves that each limit of a frame is an ErrProtocol that names it, met at the limit and not below; the length is
	// refused before any of the body is there.
	const kind = "Content-Type: command/reply\n"
	for _, c := range []struct{ name, input, why string }{
		{"long line", "X: " + strings.Repeat("a", MaxHeadBytes), "header block"},
		{"endless headers", strings.Repeat("X: "+strings.Repeat("a", 1000)+"\n", MaxHeadBytes/1000), "header block"},
		{"many headers", strings.Repeat("X: a\n", MaxHeaders+1) + "\n", "headers"},
		{"large body", kind + fmt.Sprintf("Content-Length: %d\n\n", MaxBodyBytes+1), "is over"},
		{"negative length", kind + "Content-Length: -1\n\n", "no length"},
		{"length past 64 bits", kind + "Content-Length: 99999999999999999999\n\n", "no length"},
		{"two lengths", kind + "Content-Length: 1\nContent-Length: 2\n\nab", "two Content-Lengths"},
		{"no kind", "Content-Length: 1\n\na", "Content-Type"},
		{"no colon", "HTTP/1.1 200 OK\n\n", "without a name"},
	} {
		_, err := newFrames(strings.NewReader(c.input)).next()
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	in := newFrames(strings.NewReader(kind + fmt.Sprintf("Content-Length: %d\n\n", 1<<20) + strings.Repeat("b", 1<<20) + "\r\n\n" + kind + "\r\n"))
	if f, err := in.next(); err != nil || len(f.body) != 1<<20 {
		t.Errorf("a body of 1 MiB: %d, %v", len(f.body), err)
	}
	if f, err := in.next(); err != nil || f.contentType != "command/reply" {
		t.Errorf("the frame behind it: %q, %v", f.contentType, err)
	}
}

func FuzzFrames(f *testing.F) {
	// Proves that no bytes of a peer make the reader panic or hang, and that how they are cut into packets changes
	// nothing: each input is read whole and byte by byte.
	for _, name := range []string{"in-auth-bad", "in-pipelined", "in-log", "in-sendevent", "in-rude-rejection", "in-fs-sigkill"} {
		f.Add([]byte(recording(f, name+".fs-to-app.txt")))
	}
	f.Add([]byte(jsonFrame(`{"Event-Name":"X","a":["1","2"]}`) + goodbye))
	f.Fuzz(func(t *testing.T, input []byte) {
		whole, err := play(bytes.NewReader(input))
		slow, err2 := play(iotest.OneByteReader(bytes.NewReader(input)))
		if fmt.Sprint(err) != fmt.Sprint(err2) || !reflect.DeepEqual(whole, slow) {
			t.Errorf("whole: %v %v\nbyte by byte: %v %v", whole, err, slow, err2)
		}
	})
}

func FuzzParsePlain(f *testing.F) {
	// Proves that no event text makes the parser panic, and that what it decoded is the same again after encoding.
	f.Add("Event-Name: DTMF\nDTMF-Digit: %23\nlist: ARRAY%3A%3Aa%7C%3Ab\n\nbody")
	f.Add("a: %\nb: %4\nc: ARRAY::\n")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parsePlain(text)
		if err != nil {
			return
		}
		var encoded strings.Builder
		for name, value := range e.All() {
			if strings.HasPrefix(value, arrayPrefix) {
				return // an array within an array has no way back
			}
			fmt.Fprintf(&encoded, "%s: ", name)
			for i := range len(value) {
				fmt.Fprintf(&encoded, "%%%02x", value[i])
			}
			encoded.WriteString("\n")
		}
		again, err := parsePlain(encoded.String() + "\n" + e.body)
		if err != nil || !slices.Equal(again.headers, e.headers) || again.body != e.body {
			t.Errorf("%+v\n%+v %v", e, again, err)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	// Proves that no event text makes the parser panic, and that it reads what encoding/json reads: the same strings in
	// the same order, by its token reader.
	f.Add([]byte(`{"Event-Name":"X\u00e4","a":["1","2"],"a":"3","n":1,"_body":"+OK\n"}`))
	f.Add([]byte(`{"a":"\\","b":"\"","c":"\ud83d\ude00\ud800"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseJSON(text)
		if err != nil || !utf8.Valid(text) {
			return
		}
		var got []string
		for name, value := range e.All() {
			got = append(got, name+"="+value)
		}
		if want, body := tokens(t, text); !slices.Equal(got, want) || body != e.body {
			t.Errorf("%s\n%q %q\n%q %q", text, got, e.body, want, body)
		}
	})
}

// tokens reads a flat object by encoding/json's token reader.
func tokens(t *testing.T, text []byte) (pairs []string, body string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	depth, name := 0, ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return pairs, body
		}
		if err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		delim, isDelim := token.(json.Delim)
		switch {
		case isDelim && (delim == '{' || delim == '['):
			depth++
		case isDelim:
			depth--
			name = ""
		case depth == 1 && name == "":
			name = "=" + token.(string)
			continue
		default:
			value := fmt.Sprint(token)
			if token == nil {
				value = "null"
			}
			if name[1:] == "_body" {
				body = value
			} else {
				pairs = append(pairs, name[1:]+"="+value)
			}
		}
		if depth == 1 {
			name = ""
		}
	}
}
