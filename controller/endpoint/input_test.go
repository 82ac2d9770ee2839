package endpoint

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Each kind of bad body is refused with its status, names the field, is counted once under its own
// name, and leaves no decision behind. A row differs from a good question in one thing only.
func TestDecisions_RefuseBadInputByName(t *testing.T) {
	auth, route := registerQuestion("1001", "secret1001").Encode(), inviteQuestion("1001", "secret1001", "1002").Encode()
	for _, c := range []struct {
		name, path, kind, body string
		status                 int
		field, counted         string
	}{
		{"too large", api.PathAuth, typeForm, auth + "&user_agent=" + strings.Repeat("a", api.MaxBody), 413, "", "bad_input_too_large"},
		{"field too long", api.PathAuth, typeForm, auth + "&user_agent=" + strings.Repeat("a", maxText+1), 400, "user_agent", "bad_input_field_too_long"},
		{"id too long", api.PathRoute, typeJSON, `{"call_id":"` + strings.Repeat("a", maxID+1) + `"}`, 400, "call_id", "bad_input_field_too_long"},
		{"not UTF-8 form", api.PathRoute, typeForm, replace(route, "ruri_user=", "ruri_user=%ff%fe"), 400, "ruri_user", "bad_input_encoding"},
		{"raw bytes form", api.PathAuth, typeForm, replace(auth, "to_user=", "to_user=\xff\xfe"), 400, "to_user", "bad_input_encoding"},
		{"not UTF-8 JSON", api.PathAuth, typeJSON, "{\"to_user\":\"\xff\"}", 400, "", "bad_input_encoding"},
		{"CRLF", api.PathRoute, typeForm, replace(route, "ruri_user=", "ruri_user=x%0d%0aRoute:+%3Csip:evil%3E"), 400, "ruri_user", "bad_input_control_character"},
		{"bare LF", api.PathRoute, typeForm, replace(route, "ruri_user=", "ruri_user=%0a"), 400, "ruri_user", "bad_input_control_character"},
		{"raw LF", api.PathAuth, typeForm, replace(auth, "to_user=", "to_user=a\nb"), 400, "to_user", "bad_input_control_character"},
		{"NUL", api.PathAuth, typeForm, replace(auth, "to_user=", "to_user=%00"), 400, "to_user", "bad_input_control_character"},
		{"CRLF in JSON", api.PathRoute, typeJSON, `{"from_user":"a\r\nb"}`, 400, "from_user", "bad_input_control_character"},
		{"C1 control", api.PathRoute, typeJSON, `{"to_domain":"a\u0085b"}`, 400, "to_domain", "bad_input_control_character"},
		{"unknown form field", api.PathAuth, typeForm, auth + "&admin=1", 400, `"admin"`, "bad_input_unknown_field"},
		{"unknown JSON field", api.PathAuth, typeJSON, `{"admin":true}`, 400, "admin", "bad_input_unknown_field"},
		{"field of the other question", api.PathAuth, typeForm, auth + "&ruri=x", 400, `"ruri"`, "bad_input_unknown_field"},
		{"duplicate", api.PathAuth, typeForm, auth + "&to_user=1002", 400, "to_user", "bad_input_duplicate_field"},
		{"duplicate, escaped name", api.PathAuth, typeForm, auth + "&to%5Fuser=1002", 400, "to_user", "bad_input_duplicate_field"},
		{"port no number", api.PathAuth, typeForm, replace(auth, "source_port=5060", "source_port=sip"), 400, "source_port", "bad_input_wrong_type"},
		{"port negative", api.PathAuth, typeForm, replace(auth, "source_port=5060", "source_port=-1"), 400, "source_port", "bad_input_wrong_type"},
		{"port too high", api.PathAuth, typeJSON, `{"source_port":65536}`, 400, "source_port", "bad_input_wrong_type"},
		{"number for text", api.PathRoute, typeJSON, `{"ruri_user":1002}`, 400, "ruri_user", "bad_input_wrong_type"},
		{"list for a question", api.PathRoute, typeJSON, `[]`, 400, "", "bad_input_wrong_type"},
		{"trailing data", api.PathAuth, typeJSON, `{} {}`, 400, "", "bad_input_syntax"},
		{"half a document", api.PathAuth, typeJSON, `{"to_user":`, 400, "", "bad_input_syntax"},
		{"empty JSON", api.PathAuth, typeJSON, ``, 400, "", "bad_input_syntax"},
		{"half an escape", api.PathAuth, typeForm, replace(auth, "to_user=1001", "to_user=%4"), 400, "to_user", "bad_input_syntax"},
		{"semicolon", api.PathAuth, typeForm, auth + ";x=1", 400, "transport", "bad_input_syntax"},
		{"many empty fields", api.PathAuth, typeForm, strings.Repeat("&", 1000), 400, "", "bad_input_syntax"},
		{"content type", api.PathAuth, "text/plain", auth, 415, "", "bad_input_content_type"},
		{"no content type", api.PathAuth, "", auth, 415, "", "bad_input_content_type"},
		{"multipart", api.PathRoute, "multipart/form-data; boundary=x", route, 415, "", "bad_input_content_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			w := b.ask("POST", c.path, c.kind, c.body)
			p := reading[Problem](t, w)
			if w.Code != c.status || p.Status != c.status || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, c.status)
			}
			if c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Path != c.field) {
				t.Errorf("errors %+v, want field %s", p.Errors, c.field)
			}
			onlyCounted(t, b, c.counted)
		})
	}
}

func replace(s, old, with string) string {
	if !strings.Contains(s, old) {
		panic("no " + old + " in " + s)
	}
	return strings.Replace(s, old, with, 1)
}

// onlyCounted checks that one thing was counted, once.
func onlyCounted(t *testing.T, b *bench, name string) {
	t.Helper()
	for n, got := range b.counts.all() {
		if want := int64(0); n == name && got != 1 || n != name && got != want {
			t.Errorf("%s is counted %d times; only %s should be, once", n, got, name)
		}
	}
}

// The same question as a form and as JSON, with charset parameters or without, gets the same answer.
func TestDecisions_TakeFormsAndJSONAlike(t *testing.T) {
	b := newBench(t)
	v := registerQuestion("1001", "secret1001")
	var fields []string
	for name := range v {
		if name == "source_port" {
			fields = append(fields, fmt.Sprintf("%q:%s", name, v.Get(name)))
		} else {
			fields = append(fields, fmt.Sprintf("%q:%q", name, v.Get(name)))
		}
	}
	asForm := b.form(api.PathAuth, v).Body.String()
	asJSON := b.ask("POST", api.PathAuth, typeJSON+"; charset=utf-8", "{"+strings.Join(fields, ",")+"}").Body.String()
	if asForm != asJSON || !strings.Contains(asForm, `"accept"`) {
		t.Errorf("form: %s\nJSON: %s", asForm, asJSON)
	}
}

// A body that trickles in is given up at the server's read timeout with 408, counted, and the
// connection closed; a question on another connection is answered meanwhile.
func TestDecisions_GiveUpOnASlowBody(t *testing.T) {
	b := newBench(t)
	srv := httptest.NewUnstartedServer(b.mux)
	srv.Config.ReadTimeout = 3 * time.Second // a whole question comes sooner, on a slow machine too
	srv.Start()
	defer srv.Close()
	slow := dial(t, srv)
	fmt.Fprintf(slow, "POST /auth HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\ncall_id=", tokenNode, typeForm)

	quick := dial(t, srv)
	body := registerQuestion("1001", "secret1001").Encode()
	fmt.Fprintf(quick, "POST /auth HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", tokenNode, typeForm, len(body), body)
	if res := response(t, quick); res.StatusCode != 200 {
		t.Errorf("the quick question got %s", res.Status)
	}
	if res := response(t, slow); res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("the slow question got %s", res.Status)
	}
	if _, err := slow.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the slow connection is still open: %v", err)
	}
	if n := b.counts[countBadSlow].Load(); n != 1 {
		t.Errorf("%d slow bodies counted", n)
	}
}

// A body announced as too large is refused before a byte of it is read or sent.
func TestDecisions_RefuseALargeBodyUnread(t *testing.T) {
	b := newBench(t)
	srv := httptest.NewServer(b.mux)
	defer srv.Close()
	conn := dial(t, srv)
	fmt.Fprintf(conn, "POST /route HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", tokenNode, typeForm, api.MaxBody+1)
	if res := response(t, conn); res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
		t.Errorf("got %s, close %v", res.Status, res.Close)
	}
}

func dial(t *testing.T, srv *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func response(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res
}
