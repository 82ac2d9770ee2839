package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/sipio/sipio/brain"
)

// stores are the kinds of store that every test of a Store runs on: a folder, and a bucket of an S3 server.
var stores = map[string]func(t *testing.T) *Store{"folder": folderStore, "s3": bucketStore}

func folderStore(t *testing.T) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "media"))
}

func bucketStore(t *testing.T) *Store {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("sounds"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return open(t, "s3://sounds?region=eu-1&use_path_style=true&endpoint="+url.QueryEscape(server.URL))
}

func open(t *testing.T, where string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: where, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// everywhere runs a test on each kind of store.
func everywhere(t *testing.T, test func(t *testing.T, s *Store)) {
	for name, make := range stores {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func put(t *testing.T, s *Store, key, content string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(content), 1<<30); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, s *Store, key string) string {
	t.Helper()
	r, ref, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != ref.Bytes {
		t.Fatalf("%d of %d bytes, %v", len(b), ref.Bytes, err)
	}
	return string(b)
}

func TestStore_ReturnsWhatWasPut(t *testing.T) {
	// Proves that content comes back byte for byte with its sum, small and larger than what is kept in memory, at any
	// position, is replaced whole, and is gone after Delete.
	everywhere(t, func(t *testing.T, s *Store) {
		large := make([]byte, 3*inMemory+17)
		random := rand.NewChaCha8([32]byte{1})
		_, _ = random.Read(large)
		for _, b := range [][]byte{{}, []byte("one"), large[:inMemory], large} {
			ref, err := s.Put(t.Context(), "acc_1/vm/box/m.wav", bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Stat(t.Context(), ref.Key); err != nil || got != ref {
				t.Errorf("stat %+v, %v; put %+v", got, err, ref)
			}
			if sum, err := s.sum(t.Context(), ref.Key); err != nil || sum != ref.SHA256 {
				t.Errorf("the content has the sum %s, %v", sum, err)
			}
			if content(t, s, ref.Key) != string(b) {
				t.Errorf("%d bytes: other content", len(b))
			}
		}
		r, _, err := s.Get(t.Context(), "acc_1/vm/box/m.wav")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		part := make([]byte, 100)
		if _, err := r.Seek(2*inMemory, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, part); err != nil || !bytes.Equal(part, large[2*inMemory:2*inMemory+100]) {
			t.Errorf("other content in the middle: %v", err)
		}
		if err := s.Delete(t.Context(), "acc_1/vm/box/m.wav"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "acc_1/vm/box/m.wav"); brain.CodeOf(err) != brain.ENotFound {
			t.Errorf("after delete: %v", err)
		}
	})
}

func TestStore_KeepsTheOldObjectWhenTheNewOneFails(t *testing.T) {
	// Proves that a body that breaks off, or is too long, changes nothing and leaves nothing behind.
	everywhere(t, func(t *testing.T, s *Store) {
		put(t, s, "a/b", "old")
		broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 2*inMemory)), iotest.ErrReader(errors.New("cut off")))
		if _, err := s.Put(t.Context(), "a/b", broken, 1<<30); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("broken body: %v", err)
		}
		if _, err := s.Put(t.Context(), "a/b", strings.NewReader("12345"), 4); brain.CodeOf(err) != brain.EInvalid {
			t.Errorf("too long: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Put(gone, "a/b", strings.NewReader("new"), 4); err == nil {
			t.Error("stored after the asker had gone")
		}
		if content(t, s, "a/b") != "old" {
			t.Error("the old object was changed")
		}
		var keys []string
		for e, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, e.Key)
		}
		if !slices.Equal(keys, []string{"a/b"}) {
			t.Errorf("left behind: %v", keys)
		}
	})
}

func TestStore_ListsInOrderOverPages(t *testing.T) {
	// Proves that a listing has each key once, in order, also where a name and a folder share a beginning, over pages.
	everywhere(t, func(t *testing.T, s *Store) {
		want := []string{"acc/rec-x", "acc/rec/2026-01-01/a.wav", "acc/rec/2026-01-01/b.wav", "acc/rec/2026-01-02/a.wav", "acc/rec0", "b"}
		for i := range pageSize + 5 {
			want = append(want, fmt.Sprintf("many/%04d", i))
		}
		for _, key := range want {
			put(t, s, key, key)
		}
		for prefix, from := range map[string][2]int{"": {0, len(want)}, "acc/rec/": {1, 4}, "acc/rec": {0, 5}, "acc/rec/2026-01-02": {3, 4}, "none": {0, 0}} {
			var got []string
			for e, err := range s.List(t.Context(), prefix) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Bytes != int64(len(e.Key)) || time.Since(e.Changed) > time.Hour {
					t.Errorf("%+v", e)
				}
				got = append(got, e.Key)
			}
			if !slices.Equal(got, want[from[0]:from[1]]) {
				t.Errorf("prefix %q: %d keys, %.200v", prefix, len(got), got)
			}
		}
	})
}

func TestStore_ManyWritersOfOneKeyLeaveOneWholeObject(t *testing.T) {
	// Proves that racing writers and deleters end with an object of one of them, content and sum fitting each other.
	everywhere(t, func(t *testing.T, s *Store) {
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for range 10 {
					if _, err := s.Put(t.Context(), "a/x/y", strings.NewReader(strings.Repeat(string(rune('a'+i)), 1000+i)), 4096); err != nil {
						t.Error(err)
					}
					if err := s.Delete(t.Context(), "a/x/z"); err != nil && brain.CodeOf(err) != brain.ENotFound {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		ref, err := s.Stat(t.Context(), "a/x/y")
		if err != nil {
			t.Fatal(err)
		}
		if sum, err := s.sum(t.Context(), "a/x/y"); err != nil || sum != ref.SHA256 {
			t.Errorf("sum %s, %v; stat says %s", sum, err, ref.SHA256)
		}
	})
}

func TestStore_RefusesForeignKeys(t *testing.T) {
	// Proves that no key leads out of the folder or to the store's own files, in any operation.
	everywhere(t, func(t *testing.T, s *Store) {
		for _, key := range []string{"", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", ".new/x", "a/.sum", "a\\b", "ä", "a b", "a\x00", strings.Repeat("a", MaxKey+1)} {
			_, putting := s.Put(t.Context(), key, strings.NewReader("x"), 1)
			_, asking := s.Stat(t.Context(), key)
			_, _, getting := s.Get(t.Context(), key)
			for _, err := range []error{putting, asking, getting, s.Delete(t.Context(), key)} {
				if brain.CodeOf(err) != brain.EInvalid {
					t.Errorf("%q: %v", key, err)
				}
			}
		}
	})
}

func TestOpen_RefusesOtherPlaces(t *testing.T) {
	// Proves that a place the store cannot be in is an error of the start.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"", "ftp://x", "s3://b?no_such_option=1", file} {
		if _, err := Open(t.Context(), Options{URL: where}); err == nil {
			t.Errorf("%q was opened", where)
		}
	}
}

func TestFolder_TellsTheSumOfWhatIsThere(t *testing.T) {
	// Proves that the remembered sum is never believed over the file: one copied into the folder has the right sum, one
	// changed by hand the new one, and an object that is a folder's name is told as missing.
	root := t.TempDir()
	s := open(t, root)
	put(t, s, "a/b", "one")
	file := filepath.Join(root, "a", "b")
	if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	ref, err := s.Stat(t.Context(), "a/b")
	if err != nil || ref.SHA256 != "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3" {
		t.Errorf("%+v, %v", ref, err)
	}
	for _, key := range []string{"a", "a/b/c"} {
		if _, err := s.Stat(t.Context(), key); brain.CodeOf(err) != brain.ENotFound {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestFolder_OpeningClearsOldLeftovers(t *testing.T) {
	// Proves that files half written by a process that died are taken away a day later, and not those of others at work.
	root := t.TempDir()
	open(t, root)
	for name, age := range map[string]time.Duration{"old": 2 * leftoverAge, "young": time.Hour} {
		path := filepath.Join(root, newFolder, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	open(t, root)
	left, err := os.ReadDir(filepath.Join(root, newFolder))
	if err != nil || len(left) != 1 || left[0].Name() != "young" {
		t.Errorf("left %v, %v", left, err)
	}
}

func FuzzCheckKey(f *testing.F) {
	// Proves that a key that is taken stays below the store's folder and out of its own folders, as the system reads paths.
	for _, key := range []string{"acc_1/vm/b/m.wav", "../x", "a/../../x", ".new/x", "a/b..", "a//b", "a/.."} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		clean := filepath.Clean(filepath.Join("/store", key))
		if clean != "/store/"+key || strings.Contains(key, "/.") || key[0] == '.' || len(key) > MaxKey {
			t.Errorf("%q is taken and leads to %s", key, clean)
		}
	})
}
