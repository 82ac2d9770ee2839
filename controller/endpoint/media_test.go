package endpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// shelf is a Media in memory.
type shelf struct {
	mu      sync.Mutex
	objects map[string]string
	fail    error
}

type openObject struct{ *strings.Reader }

func (openObject) Close() error { return nil }

func sumOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (m *shelf) Stat(_ context.Context, key string) (api.MediaRef, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, ok := m.objects[key]
	switch {
	case m.fail != nil:
		return api.MediaRef{}, m.fail
	case strings.Contains(key, ".."):
		return api.MediaRef{}, brain.Errorf(brain.EInvalid, "bad key")
	case !ok:
		return api.MediaRef{}, brain.Errorf(brain.ENotFound, "no object %s", key)
	}
	return api.MediaRef{Key: key, SHA256: sumOf(content), Bytes: int64(len(content))}, nil
}

func (m *shelf) Get(ctx context.Context, key string) (io.ReadSeekCloser, api.MediaRef, error) {
	ref, err := m.Stat(ctx, key)
	return openObject{strings.NewReader(m.objects[key])}, ref, err
}

func (m *shelf) Put(_ context.Context, key string, r io.Reader, _ int64) (api.MediaRef, error) {
	b, err := io.ReadAll(r)
	if err = errors.Join(err, m.fail); err != nil {
		return api.MediaRef{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = string(b)
	return api.MediaRef{Key: key, SHA256: sumOf(string(b)), Bytes: int64(len(b))}, nil
}

func newMediaBench(t *testing.T) (*bench, *shelf) {
	b := newBench(t)
	m := &shelf{objects: map[string]string{"acc_1/media/a.wav": "0123456789", "acc_1/rec/d/old.wav": "old"}}
	b.mux.Handle(api.PathMedia, &mediaServer{server: b.Server, media: m, limit: 64})
	return b, m
}

func withHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestMedia_GivesNodesAnObjectOrPartOfIt(t *testing.T) {
	// Proves the answers to GET and HEAD by status, length and content, with ranges and validators, and that what is not there is 404.
	b, m := newMediaBench(t)
	const path = "/media/acc_1/media/a.wav"
	for _, c := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
		body               string
	}{
		{"whole", "GET", path, func(*http.Request) {}, 200, "0123456789"},
		{"head", "HEAD", path, func(*http.Request) {}, 200, ""},
		{"range", "GET", path, withHeader("Range", "bytes=2-4"), 206, "234"},
		{"tail", "GET", path, withHeader("Range", "bytes=-3"), 206, "789"},
		{"past the end", "GET", path, withHeader("Range", "bytes=10-"), 416, "*"},
		{"known", "GET", path, withHeader("If-None-Match", `"`+sumOf("0123456789")+`"`), 304, ""},
		{"missing", "GET", "/media/acc_1/media/b.wav", func(*http.Request) {}, 404, "*"},
		{"bad key", "GET", "/media/acc_1/media/b..wav", func(*http.Request) {}, 400, "*"},
		{"other method", "POST", path, func(*http.Request) {}, 405, "*"},
		{"no key", "GET", path, withToken(""), 401, "*"},
		{"account's key", "GET", path, withToken(tokenAccount), 403, "*"},
		{"elsewhere", "GET", path, func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, 403, "*"},
	} {
		w := b.ask(c.method, c.path, "", "", c.change)
		if w.Code != c.status || c.body != "*" && w.Body.String() != c.body {
			t.Errorf("%s: %d %q", c.name, w.Code, w.Body)
		}
		if c.status == 200 && (w.Header().Get(api.HeaderSHA256) != sumOf("0123456789") || w.Header().Get("Content-Length") != "10") {
			t.Errorf("%s: headers %v", c.name, w.Header())
		}
	}
	m.fail = brain.Errorf(brain.EUnavailable, "bucket away")
	if w := b.ask("GET", path, "", ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("store away: %d %v", w.Code, w.Header())
	}
}

func TestMedia_TakesWhatNodesRecorded(t *testing.T) {
	// Proves which PUTs are stored, and that any other changes nothing: foreign places, wrong sums, bodies that are too large
	// or end early, replacing what shall not be replaced.
	b, m := newMediaBench(t)
	broken := func(r *http.Request) {
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("ne"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	short := func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("ne")) }
	endless := func(r *http.Request) { r.ContentLength = -1 }
	none := func(*http.Request) {}
	for _, c := range []struct {
		name, key, body string
		change          []func(*http.Request)
		status          int
		stored          bool
	}{
		{"message", "acc_1/vm/box/m.wav", "new", []func(*http.Request){none}, 200, true},
		{"recording with its sum", "acc_1/rec/d/c.wav", "new", []func(*http.Request){withHeader(api.HeaderSHA256, sumOf("new"))}, 200, true},
		{"the same again", "acc_1/rec/d/c.wav", "new", []func(*http.Request){withHeader("If-None-Match", "*"), withHeader(api.HeaderSHA256, sumOf("new"))}, 200, true},
		{"other content, replacing", "acc_1/rec/d/c.wav", "newer", []func(*http.Request){none}, 200, true},
		{"other content, not replacing", "acc_1/rec/d/c.wav", "x", []func(*http.Request){withHeader("If-None-Match", "*"), withHeader(api.HeaderSHA256, sumOf("x"))}, 412, false},
		{"length unknown", "acc_1/rec/d/u.wav", "new", []func(*http.Request){endless}, 200, true},
		{"wrong sum", "acc_1/rec/d/e.wav", "new", []func(*http.Request){withHeader(api.HeaderSHA256, sumOf("old"))}, 400, false},
		{"no sum", "acc_1/rec/d/e.wav", "new", []func(*http.Request){withHeader(api.HeaderSHA256, "abc")}, 400, false},
		{"too large and says so", "acc_1/rec/d/e.wav", strings.Repeat("x", 65), []func(*http.Request){none}, 413, false},
		{"too large", "acc_1/rec/d/e.wav", strings.Repeat("x", 65), []func(*http.Request){endless}, 413, false},
		{"as large as can be", "acc_1/rec/d/l.wav", strings.Repeat("x", 64), []func(*http.Request){endless}, 200, true},
		{"broken off", "acc_1/rec/d/e.wav", "new", []func(*http.Request){broken}, 400, false},
		{"short", "acc_1/rec/d/e.wav", "new", []func(*http.Request){short}, 400, false},
		{"unknown account", "acc_2/rec/d/e.wav", "new", []func(*http.Request){none}, 403, false},
		{"a prompt", "system/en/male/welcome.wav", "new", []func(*http.Request){none}, 403, false},
		{"a greeting", "acc_1/media/a.wav", "new", []func(*http.Request){none}, 403, false},
		{"too short a key", "acc_1/rec/e.wav", "new", []func(*http.Request){none}, 403, false},
		{"no key of a node", "acc_1/rec/d/e.wav", "new", []func(*http.Request){withToken(tokenAccount)}, 403, false},
	} {
		before := m.objects[c.key]
		w := b.ask("PUT", "/media/"+c.key, mediaType, c.body, c.change...)
		want := before
		if c.stored {
			want = c.body
		}
		if w.Code != c.status || m.objects[c.key] != want {
			t.Errorf("%s: %d %s, stored %q", c.name, w.Code, w.Body, m.objects[c.key])
		}
		if c.status == 200 {
			if ref := reading[api.MediaRef](t, w); ref.SHA256 != sumOf(c.body) || ref.Key != c.key {
				t.Errorf("%s: %+v", c.name, ref)
			}
		}
	}
	if b.log.Len() > 0 && bytes.Contains(b.log.Bytes(), []byte("endpoint failed")) {
		t.Errorf("what an asker did wrong was logged as a fault: %s", b.log)
	}
	m.fail = errors.New("disk full")
	if w := b.ask("PUT", "/media/acc_1/rec/d/f.wav", mediaType, "new"); w.Code != 500 || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("a fault of the store: %d %s", w.Code, w.Body)
	}
}

func TestMedia_TransfersAreBounded(t *testing.T) {
	// Proves that one transfer more than the bound is sent away at once and told to come again, and that there is room when one has ended.
	b, m := newMediaBench(t)
	server := &mediaServer{server: b.Server, media: m, limit: 64}
	ask := func() int {
		r := httptest.NewRequest("GET", "/media/acc_1/media/a.wav", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Authorization", "Bearer "+tokenNode)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Code
	}
	server.transfers.Store(maxTransfers)
	if got := ask(); got != 503 {
		t.Errorf("one more: %d", got)
	}
	server.transfers.Add(-1)
	if got := ask(); got != 200 || server.transfers.Load() != maxTransfers-1 {
		t.Errorf("with room: %d, %d transfers", got, server.transfers.Load())
	}
}
