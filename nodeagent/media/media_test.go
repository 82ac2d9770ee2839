package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// far is a Remote in memory. Its fields change how it misbehaves.
type far struct {
	mu      sync.Mutex
	objects map[string]string
	gets    int
	puts    []string
	hold    chan struct{} // a Get waits for it
	body    func(string) io.Reader
	getting error
	putting error
}

func (r *far) Get(ctx context.Context, key string) (io.ReadCloser, api.MediaRef, error) {
	r.mu.Lock()
	r.gets++
	content, ok := r.objects[key]
	err, body, hold := r.getting, r.body, r.hold
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, api.MediaRef{}, ctx.Err()
		}
	}
	if err == nil && !ok {
		err = ErrRefused
	}
	if err != nil {
		return nil, api.MediaRef{}, err
	}
	var in io.Reader = strings.NewReader(content)
	if body != nil {
		in = body(content)
	}
	return io.NopCloser(in), refOf(key, content), nil
}

func (r *far) Put(_ context.Context, key string, in io.Reader, size int64, sha string) error {
	b, err := io.ReadAll(in)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts = append(r.puts, key)
	if err = errors.Join(err, r.putting); err != nil {
		return err
	}
	if ref := refOf(key, string(b)); ref.Bytes != size || ref.SHA256 != sha {
		return fmt.Errorf("%w: announced %d %s, got %+v", ErrRefused, size, sha, ref)
	}
	r.objects[key] = string(b)
	return nil
}

func (r *far) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *far) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gets
}

func (r *far) object(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects[key]
}

func refOf(key, content string) api.MediaRef {
	sum := sha256.Sum256([]byte(content))
	return api.MediaRef{Key: key, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(content))}
}

// bench is a cache with a clock of its own.
type bench struct {
	*Cache
	far    *far
	now    time.Time
	folder string
}

func newBench(t *testing.T, objects ...string) *bench {
	t.Helper()
	b := &bench{far: &far{objects: map[string]string{}}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), folder: t.TempDir()}
	for _, o := range objects {
		b.far.objects["k/"+o] = o
	}
	b.reopen(t, 0)
	return b
}

// reopen is a restart of the process.
func (b *bench) reopen(t *testing.T, maxBytes int64) {
	t.Helper()
	c, err := Open(Config{Folder: b.folder, MaxBytes: maxBytes, Now: func() time.Time { return b.now }}, b.far)
	if err != nil {
		t.Fatal(err)
	}
	b.Cache = c
}

func (b *bench) fetch(t *testing.T, content string) string {
	t.Helper()
	path, err := b.Fetch(t.Context(), refOf("k/"+content, content))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != content || filepath.Ext(path) != ".wav" {
		t.Fatalf("%s has %q, %v", path, got, err)
	}
	return path
}

func TestFetch_AsksTheBrainOnce(t *testing.T) {
	// Proves that calls that want one object at the same time cost one fetch, and later ones none, after a restart too; nor
	// does one that looked for it before it came, and asks after.
	b := newBench(t, "one")
	b.far.hold = make(chan struct{})
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if _, err := b.Fetch(t.Context(), refOf("k/one", "one")); err != nil {
				t.Error(err)
			}
		})
	}
	b.far.hold <- struct{}{}
	group.Wait()
	close(b.far.hold)
	if _, err := b.once(t.Context(), refOf("k/one", "one")); err != nil {
		t.Error(err)
	}
	b.fetch(t, "one")
	b.reopen(t, 0)
	b.fetch(t, "one")
	if n := b.far.asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestFetch_GivesOutNothingButTheObject(t *testing.T) {
	// Proves that a download that is cut off, short, changed or endless is an error, leaves no file, and spoils no later one.
	b := newBench(t, "one")
	for name, body := range map[string]func(string) io.Reader{
		"cut off": func(s string) io.Reader {
			return io.MultiReader(strings.NewReader(s[:1]), iotest.ErrReader(errors.New("reset")))
		},
		"short":   func(s string) io.Reader { return strings.NewReader(s[:2]) },
		"changed": func(string) io.Reader { return strings.NewReader("two") },
		"longer":  func(s string) io.Reader { return strings.NewReader(s + "!") },
	} {
		b.far.body = body
		if path, err := b.Fetch(t.Context(), refOf("k/one", "one")); err == nil || path != "" {
			t.Errorf("%s: %q, %v", name, path, err)
		}
		for _, sub := range []string{objectFolder, newFolder} {
			if left, err := os.ReadDir(filepath.Join(b.folder, sub)); err != nil || len(left) > 0 {
				t.Errorf("%s: left %v, %v", name, left, err)
			}
		}
	}
	b.far.body = nil
	b.fetch(t, "one")
	for _, bad := range []api.MediaRef{{}, {Key: "k", SHA256: "../../x"}, {Key: "k", SHA256: strings.Repeat("A", 64)}} {
		if _, err := b.Fetch(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestFetch_DamagedFileIsFetchedAgain(t *testing.T) {
	// Proves that a file that was changed on disk, or removed, is noticed and replaced: while the process runs, and over a restart.
	b := newBench(t, "one")
	for name, damage := range map[string]func(path string) error{
		"changed": func(p string) error { return os.WriteFile(p, []byte("eno"), 0o600) },
		"cut":     func(p string) error { return os.Truncate(p, 1) },
		"removed": os.Remove,
	} {
		for _, restart := range []bool{false, true} {
			path := b.fetch(t, "one")
			before := b.far.asked()
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			if restart {
				b.reopen(t, 0)
			}
			b.fetch(t, "one")
			if n := b.far.asked(); n != before+1 {
				t.Errorf("%s, restart %v: fetched %d times", name, restart, n-before)
			}
		}
	}
}

func TestFetch_KeyWithoutASum(t *testing.T) {
	// Proves that a key without a sum is what the brain had five minutes ago at most, is not loaded again when it is the
	// same, and is what it last was while the brain is away.
	b := newBench(t)
	b.far.objects["moh"] = "old"
	get := func() string {
		t.Helper()
		path, err := b.Fetch(t.Context(), api.MediaRef{Key: "moh"})
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if got := get(); got != "old" {
		t.Error(got)
	}
	b.far.objects["moh"] = "new"
	if got := get(); got != "old" || b.far.asked() != 1 {
		t.Errorf("%s after %d fetches", got, b.far.asked())
	}
	b.now = b.now.Add(6 * time.Minute)
	if got := get(); got != "new" {
		t.Error(got)
	}
	b.now = b.now.Add(6 * time.Minute)
	b.far.getting = errors.New("away")
	if got := get(); got != "new" {
		t.Error(got)
	}
	if _, err := b.Fetch(t.Context(), api.MediaRef{Key: "other"}); err == nil {
		t.Error("an object that was never here")
	}
}

func TestCache_MakesRoomButNotForWhatIsInUse(t *testing.T) {
	// Proves that the longest unused objects go first when the cache is full, that those of the last minutes stay, and
	// that a restart knows the size of what is there.
	b := newBench(t, "aaaa", "bbbb", "cccc", "dddd")
	b.reopen(t, 10)
	first := b.fetch(t, "aaaa")
	b.now = b.now.Add(time.Minute)
	second := b.fetch(t, "bbbb")
	b.now = b.now.Add(time.Minute)
	b.fetch(t, "cccc")
	if b.bytes != 12 {
		t.Errorf("%d bytes while all are in use", b.bytes)
	}
	b.now = b.now.Add(2 * inUse)
	b.fetch(t, "aaaa")
	b.fetch(t, "dddd")
	if _, err := os.Stat(second); !os.IsNotExist(err) {
		t.Errorf("the longest unused one is still there: %v", err)
	}
	if _, err := os.Stat(first); err != nil || b.bytes > 10 {
		t.Errorf("one in use: %v; %d bytes", err, b.bytes)
	}
	size := b.bytes
	if b.reopen(t, 10); b.bytes != size {
		t.Errorf("%d bytes after a restart, had %d", b.bytes, size)
	}
}

// running runs the uploads of a cache until stop.
func (b *bench) running(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	c := b.Cache
	group.Go(func() { c.Run(ctx) })
	return func() { cancel(); group.Wait() }
}

func recorded(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "call.wav")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
}

func TestStore_ReturnsWhenTheBrainHasTheFile(t *testing.T) {
	// Proves that a recording is at the brain when Store returns, off the node, and that the same again is no second one.
	b := newBench(t)
	defer b.running(t)()
	for range 2 {
		file := recorded(t, "hello")
		ref, err := b.Store(t.Context(), "acc/rec/d/c.wav", file)
		if err != nil || ref != refOf("acc/rec/d/c.wav", "hello") || b.far.object(ref.Key) != "hello" {
			t.Fatalf("%+v, %v", ref, err)
		}
		gone(t, file)
	}
	if left, err := os.ReadDir(filepath.Join(b.folder, uploadFolder)); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := b.Store(t.Context(), "acc/rec/d/x.wav", "no-such-file"); err == nil || errors.Is(err, ErrLater) {
		t.Errorf("no file: %v", err)
	}
}

func TestStore_SurvivesTheBrainAndTheProcess(t *testing.T) {
	// Proves that a recording that the brain could not take is promised, survives a restart of the process at each stage
	// of being moved, and arrives when the brain answers again, once.
	b := newBench(t)
	b.far.putting = errors.New("brain away")
	stop := b.running(t)
	ctx, cancel := context.WithCancel(t.Context())
	file := recorded(t, "hello")
	go func() { // the caller gives up once the brain has failed
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			tried := false
			b.far.set(func() { tried = len(b.far.puts) > 0 })
			if tried {
				break
			}
		}
		cancel()
	}()
	ref, err := b.Store(ctx, "acc/rec/d/c.wav", file)
	if !errors.Is(err, ErrLater) || ref != refOf("acc/rec/d/c.wav", "hello") {
		t.Fatalf("%+v, %v", ref, err)
	}
	stop()
	gone(t, file)

	// A process that died between the note and the move: the file is still where FreeSWITCH wrote it.
	other := recorded(t, "other")
	u := &upload{Key: "acc/rec/d/o.wav", SHA256: refOf("", "other").SHA256, Bytes: 5, From: other, id: "o"}
	if err := b.secure(u, other); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.uploadPath("o"), other); err != nil {
		t.Fatal(err)
	}
	// And one that died between the end of an upload and that of its note.
	if err := writeFile(b.uploadPath("over")+noteSuffix, []byte(`{"key":"k","sha256":"`+u.SHA256+`","bytes":5,"from":"/none"}`)); err != nil {
		t.Fatal(err)
	}
	b.reopen(t, 0)
	if n, bytes := b.Waiting(); n != 2 || bytes != 10 {
		t.Fatalf("%d files, %d bytes wait", n, bytes)
	}
	b.far.set(func() { b.far.putting, b.far.puts = nil, nil })
	stop = b.running(t)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if n, _ := b.Waiting(); n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the files did not arrive")
		}
	}
	stop()
	if b.far.object("acc/rec/d/c.wav") != "hello" || b.far.object("acc/rec/d/o.wav") != "other" || len(b.far.puts) != 2 {
		t.Errorf("arrived: %v, puts %v", b.far.objects, b.far.puts)
	}
	if left, err := os.ReadDir(filepath.Join(b.folder, uploadFolder)); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestStore_WhatTheBrainRefusesIsKept(t *testing.T) {
	// Proves that a refusal is told, tried once, and that the recording is not thrown away.
	b := newBench(t)
	defer b.running(t)()
	b.far.putting = fmt.Errorf("%w: no such account", ErrRefused)
	if _, err := b.Store(t.Context(), "acc/rec/d/c.wav", recorded(t, "hello")); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(b.folder, uploadFolder, refusedName, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil || string(content) != "hello" || len(b.far.puts) != 1 {
		t.Errorf("%q, %v, %d tries", content, err, len(b.far.puts))
	}
}

func TestStore_QueueIsBounded(t *testing.T) {
	// Proves that a recording for which there is no room stays where it is and the caller hears so.
	b := newBench(t)
	b.cfg.MaxQueue = 8
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Store(now, "a/rec/d/1", recorded(t, "12345")); !errors.Is(err, ErrLater) {
		t.Fatal(err)
	}
	file := recorded(t, "67890")
	if _, err := b.Store(now, "a/rec/d/2", file); err == nil || errors.Is(err, ErrLater) {
		t.Errorf("no room: %v", err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "67890" {
		t.Errorf("%q, %v", content, err)
	}
}

func TestPlaylist_IsAFolderOfItsContent(t *testing.T) {
	// Proves that files are laid out in order, that the same content is the same folder, that it outlives the cache's
	// room and a restart, and that another order is another folder.
	b := newBench(t, "aaaa", "bbbb")
	refs := []api.MediaRef{refOf("k/bbbb", "bbbb"), refOf("k/aaaa", "aaaa")}
	dir, err := b.Playlist(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	for sum := range b.files {
		b.forget(sum)
	}
	b.reopen(t, 0)
	again, err := b.Playlist(t.Context(), refs)
	if err != nil || again != dir {
		t.Errorf("%s, then %s, %v", dir, again, err)
	}
	var got []string
	names, err := filepath.Glob(dir + "/*.wav")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		content, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(content))
	}
	if !slices.Equal(got, []string{"bbbb", "aaaa"}) {
		t.Errorf("laid out %v", got)
	}
	slices.Reverse(refs)
	if other, err := b.Playlist(t.Context(), refs); err != nil || other == dir {
		t.Errorf("another order: %s, %v", other, err)
	}
	if _, err := b.Playlist(t.Context(), nil); err == nil {
		t.Error("an empty playlist was laid out")
	}
}

func TestMusicXML_IsReadBackAsMeant(t *testing.T) {
	// Proves that name and folder come through XML whatever is in them.
	var got struct {
		Name string `xml:"name,attr"`
		Path string `xml:"path,attr"`
		List []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"param"`
	}
	b := MusicXML(`a"<&>`, `/x/"y"`)
	if err := xml.NewDecoder(bytes.NewReader(b)).Decode(&got); err != nil || got.Name != `a"<&>` || got.Path != `/x/"y"` || len(got.List) != 5 {
		t.Errorf("%s: %+v, %v", b, got, err)
	}
	if s := FileString([]string{"/a.wav", "/b.wav"}); s != "file_string:///a.wav!/b.wav" {
		t.Error(s)
	}
}
