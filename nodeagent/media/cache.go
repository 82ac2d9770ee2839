// Package media keeps, on the node's own disk, what FreeSWITCH plays, and what it recorded until the brain has it.
package media

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Remote is the brain's media store.
type Remote interface {
	// Get opens an object and says what it is. The sum may be missing.
	Get(ctx context.Context, key string) (io.ReadCloser, api.MediaRef, error)
	// Put stores an object. An error that wraps ErrRefused will be the same next time.
	Put(ctx context.Context, key string, r io.Reader, size int64, sha string) error
}

// ErrRefused is wrapped by an error of Remote that a repetition does not mend: no such object, not allowed, too large.
var ErrRefused = errors.New("refused")

// Config of a Cache. Zero values are the defaults.
type Config struct {
	Folder   string        // on a file system of the node; FreeSWITCH must be able to read it
	MaxBytes int64         // of objects, 0 = 2 GiB; what was used in the last ten minutes is kept beyond that
	MaxQueue int64         // bytes of recordings that wait for the brain, 0 = 16 GiB
	Fresh    time.Duration // how long a key without a sum stands for the same object, 0 = 5 min
	Log      *slog.Logger
	Now      func() time.Time
}

// Bounds.
const (
	maxObject  = 512 << 20        // bytes
	inUse      = 10 * time.Minute // an object used since then is not taken away: a call may be about to open it
	maxFlights = 64               // objects that are fetched at once
	verifyFor  = 10 * time.Minute // a file whose size and time stay the same is read and summed so often
	maxNames   = 10000            // keys remembered with their sum
)

// Folders of a Cache. Objects lie under their sum.
const (
	objectFolder   = "object"
	newFolder      = "new"
	uploadFolder   = "upload"
	playlistFolder = "playlist"
)

// Cache has objects as files. It is safe for concurrent use; one process has a folder.
type Cache struct {
	cfg    Config
	remote Remote
	wake   chan struct{} // an upload waits

	mu      sync.Mutex
	files   map[string]*file // by sum
	bytes   int64
	flights map[string]*flight
	names   map[string]name // by key
	queue   queue
}

// file is an object that is on disk.
type file struct {
	bytes    int64
	changed  time.Time // of the file when it was summed
	used     time.Time
	verified time.Time // zero: not since the process began
}

// name is which object a key stood for.
type name struct {
	sum string
	at  time.Time
}

// flight is a fetch that others may wait for.
type flight struct {
	done chan struct{}
	path string
	err  error
}

// Open finds out what is on disk from before.
func Open(cfg Config, remote Remote) (*Cache, error) {
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 2<<30)
	cfg.MaxQueue = cmp.Or(cfg.MaxQueue, 16<<30)
	cfg.Fresh = cmp.Or(cfg.Fresh, 5*time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Cache{cfg: cfg, remote: remote, wake: make(chan struct{}, 1), files: map[string]*file{},
		flights: map[string]*flight{}, names: map[string]name{}}
	if err := os.RemoveAll(c.path(newFolder)); err != nil { // half files
		return nil, fmt.Errorf("media cache: %w", err)
	}
	for _, sub := range []string{objectFolder, newFolder, uploadFolder, playlistFolder} {
		if err := os.MkdirAll(c.path(sub), 0o755); err != nil {
			return nil, fmt.Errorf("media cache: %w", err)
		}
	}
	if err := c.scan(); err != nil {
		return nil, fmt.Errorf("media cache: %w", err)
	}
	if err := c.loadQueue(); err != nil {
		return nil, fmt.Errorf("media cache: %w", err)
	}
	return c, nil
}

func (c *Cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.cfg.Folder}, parts...)...)
}

func (c *Cache) objectPath(sum string) string { return c.path(objectFolder, sum[:2], sum+".wav") }

// scan lists the objects. None of them is believed before it was summed.
func (c *Cache) scan() error {
	return filepath.WalkDir(c.path(objectFolder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := strings.TrimSuffix(d.Name(), ".wav")
		if !isSum(sum) || path != c.objectPath(sum) {
			return os.Remove(path)
		}
		c.files[sum] = &file{bytes: info.Size(), used: info.ModTime()}
		c.bytes += info.Size()
		return nil
	})
}

func isSum(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// Fetch returns the file of an object, whole and with the right sum. ref without a sum means whatever the brain has
// under the key. The file stays for at least ten minutes after the last Fetch of it.
func (c *Cache) Fetch(ctx context.Context, ref api.MediaRef) (string, error) {
	if ref.Key == "" || ref.SHA256 != "" && !isSum(ref.SHA256) {
		return "", fmt.Errorf("media %.100q: not a reference to an object", ref.Key)
	}
	want := ref.SHA256
	if want == "" {
		want = c.named(ref.Key, c.cfg.Fresh)
	}
	if want != "" && c.have(want) {
		return c.objectPath(want), nil
	}
	path, err := c.once(ctx, ref)
	if err != nil && ref.SHA256 == "" && ctx.Err() == nil {
		if old := c.named(ref.Key, 365*24*time.Hour); old != "" && c.have(old) {
			return c.objectPath(old), nil // the brain is away: what it last was
		}
	}
	return path, err
}

// named is the sum that a key stood for not longer ago than age, "" = not known.
func (c *Cache) named(key string, age time.Duration) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.names[key]
	if !ok || c.cfg.Now().Sub(n.at) > age {
		return ""
	}
	return n.sum
}

// have says whether an object is on disk as it should be, and marks it as used. A damaged one is taken away.
func (c *Cache) have(sum string) bool {
	c.mu.Lock()
	f := c.files[sum]
	if f == nil {
		c.mu.Unlock()
		return false
	}
	now := c.cfg.Now()
	f.used = now
	was := *f
	c.mu.Unlock()

	info, err := os.Stat(c.objectPath(sum))
	if err == nil && now.Sub(was.verified) < verifyFor && info.Size() == was.bytes && info.ModTime().Equal(was.changed) {
		return true
	}
	var got string
	if err == nil {
		got, _, err = sumFile(c.objectPath(sum))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && got == sum {
		f.verified, f.changed = now, info.ModTime()
		return true
	}
	if c.files[sum] == f {
		c.cfg.Log.Warn("a file of the media cache is damaged or gone and is fetched again", "sum", sum, "err", err)
		c.forget(sum)
	}
	return false
}

// forget takes an object away. c.mu is held.
func (c *Cache) forget(sum string) {
	c.bytes -= c.files[sum].bytes
	delete(c.files, sum)
	if err := os.Remove(c.objectPath(sum)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.cfg.Log.Warn("cannot remove a file of the media cache", "sum", sum, "err", err)
	}
}

// once fetches an object, or waits for the one who does. The fetch goes on when the first who asked has gone.
func (c *Cache) once(ctx context.Context, ref api.MediaRef) (string, error) {
	id := ref.Key + " " + ref.SHA256
	c.mu.Lock()
	f := c.flights[id]
	if f == nil {
		if len(c.flights) >= maxFlights {
			c.mu.Unlock()
			return "", fmt.Errorf("media %s: %d objects are being fetched already", ref.Key, maxFlights)
		}
		f = &flight{done: make(chan struct{})}
		c.flights[id] = f
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
			defer cancel()
			f.path, f.err = c.fetch(ctx, ref)
			c.mu.Lock()
			delete(c.flights, id)
			c.mu.Unlock()
			close(f.done)
		}()
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.path, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// fetchTime bounds one fetch.
const fetchTime = 2 * time.Minute

// fetch brings an object onto the disk. Nobody sees it before its sum is known to be right.
func (c *Cache) fetch(ctx context.Context, ref api.MediaRef) (string, error) {
	if ref.SHA256 != "" && c.have(ref.SHA256) { // it has come since the caller looked
		return c.objectPath(ref.SHA256), nil
	}
	body, told, err := c.remote.Get(ctx, ref.Key)
	if err != nil {
		return "", fmt.Errorf("media %s: %w", ref.Key, err)
	}
	defer body.Close()
	want := cmp.Or(ref.SHA256, told.SHA256)
	if want != "" && !isSum(want) {
		return "", fmt.Errorf("media %s: the brain's sum is none", ref.Key)
	}
	if ref.SHA256 == "" && want != "" && c.have(want) {
		c.remember(ref.Key, want)
		return c.objectPath(want), nil
	}
	temp, err := os.CreateTemp(c.path(newFolder), "*")
	if err != nil {
		return "", fmt.Errorf("media %s: %w", ref.Key, err)
	}
	defer os.Remove(temp.Name()) // gone already when all went well
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(temp, hash), io.LimitReader(body, maxObject+1))
	got := hex.EncodeToString(hash.Sum(nil))
	switch err = errors.Join(err, temp.Chmod(0o644), temp.Close()); {
	case err != nil:
	case n > maxObject:
		err = fmt.Errorf("it has more than %d bytes", maxObject)
	case told.Bytes > 0 && n != told.Bytes:
		err = fmt.Errorf("%d of %d bytes came", n, told.Bytes)
	case want != "" && got != want:
		err = fmt.Errorf("its sum is %s, not %s", got, want)
	default:
		err = c.keep(temp.Name(), got, n)
	}
	if err != nil {
		return "", fmt.Errorf("media %s: %w", ref.Key, err)
	}
	c.remember(ref.Key, got)
	return c.objectPath(got), nil
}

// keep gives an object its place and makes room for it.
func (c *Cache) keep(temp, sum string, bytes int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files[sum] != nil {
		return nil // the same under another key
	}
	c.evict(bytes)
	path := c.objectPath(sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	c.files[sum] = &file{bytes: bytes, changed: info.ModTime(), used: now, verified: now}
	c.bytes += bytes
	return nil
}

// evict makes room for some bytes: the longest unused first. c.mu is held.
func (c *Cache) evict(need int64) {
	if c.bytes+need <= c.cfg.MaxBytes {
		return
	}
	sums := make([]string, 0, len(c.files))
	for sum := range c.files {
		sums = append(sums, sum)
	}
	slices.SortFunc(sums, func(a, b string) int { return c.files[a].used.Compare(c.files[b].used) })
	now := c.cfg.Now()
	for _, sum := range sums {
		if c.bytes+need <= c.cfg.MaxBytes || now.Sub(c.files[sum].used) < inUse {
			return
		}
		c.forget(sum)
	}
}

func (c *Cache) remember(key, sum string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.names) >= maxNames {
		clear(c.names)
	}
	c.names[key] = name{sum, c.cfg.Now()}
}

// sumFile reads a file to its end.
func sumFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	hash := sha256.New()
	size, err = io.Copy(hash, f)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}
