package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// ErrLater is wrapped by an error of Store that means: the file is in safe keeping on this node, and Run brings it to
// the brain when that answers again.
var ErrLater = errors.New("kept on this node until the brain takes it")

// Bounds of uploads.
const (
	maxWaiting  = 10000 // files
	firstRetry  = time.Second
	lastRetry   = time.Minute
	uploadTime  = 10 * time.Minute // of one file
	maxUploads  = 4                // at once
	noteSuffix  = ".json"
	refusedName = "refused" // folder of files that the brain will never take
)

// upload is a file that the brain shall have. As JSON it is the note beside the file.
type upload struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	From   string `json:"from"` // where the file was before

	id    string        // name of the file and the note
	done  chan struct{} // closed when it is over; err says how
	err   error
	next  time.Time
	delay time.Duration
	busy  bool
}

// queue is the uploads that are not over. Cache.mu guards it.
type queue struct {
	list  []*upload
	bytes int64
}

func (u *upload) ref() api.MediaRef {
	return api.MediaRef{Key: u.Key, SHA256: u.SHA256, Bytes: u.Bytes}
}

func (c *Cache) uploadPath(id string) string { return c.path(uploadFolder, id) }

// loadQueue finds the files that waited when the process ended.
func (c *Cache) loadQueue() error {
	entries, err := os.ReadDir(c.path(uploadFolder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, isNote := strings.CutSuffix(e.Name(), noteSuffix)
		if !isNote {
			continue
		}
		u := &upload{id: id, done: make(chan struct{})}
		b, err := os.ReadFile(c.uploadPath(e.Name()))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, u); err != nil || u.Key == "" || !isSum(u.SHA256) {
			c.cfg.Log.Error("a note of an upload cannot be read; its file stays where it is", "note", c.uploadPath(e.Name()), "err", err)
			continue
		}
		if there, err := c.recover(u); err != nil || !there {
			c.cfg.Log.Warn("an upload that was begun has no file: it was over, or the file is gone", "key", u.Key, "err", err)
			if err := os.Remove(c.uploadPath(e.Name())); err != nil {
				return err
			}
			continue
		}
		c.queue.list = append(c.queue.list, u)
		c.queue.bytes += u.Bytes
	}
	return nil
}

// recover says whether the file of a note is there, and moves it here if the process ended before it had.
func (c *Cache) recover(u *upload) (bool, error) {
	if info, err := os.Stat(c.uploadPath(u.id)); err == nil && info.Size() == u.Bytes {
		return true, nil
	}
	sum, _, err := sumFile(u.From)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || sum != u.SHA256:
		return false, err
	}
	return true, moveFile(u.From, c.uploadPath(u.id))
}

// Waiting is how many files, and bytes, the brain does not have yet.
func (c *Cache) Waiting() (files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue.list), c.queue.bytes
}

// Store brings a file to the brain under a key, and takes it away from where it was. It returns when the brain has it.
// When ctx ends before that the error wraps ErrLater and the reference is good all the same; ErrRefused means that the
// brain will never take it and that it lies in the folder "refused"; any other error means that the file is where it
// was. Run must be running.
func (c *Cache) Store(ctx context.Context, key, file string) (api.MediaRef, error) {
	u, err := c.accept(key, file)
	if err != nil {
		return api.MediaRef{}, fmt.Errorf("store %s: %w", key, err)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	select {
	case <-u.done:
		return u.ref(), u.err
	case <-ctx.Done():
		return u.ref(), fmt.Errorf("store %s: %w", key, ErrLater)
	}
}

// accept moves a file into the queue's folder and writes its note. From then on it is not lost.
func (c *Cache) accept(key, file string) (*upload, error) {
	if key == "" || len(key) > 512 {
		return nil, errors.New("a key has 1 to 512 bytes")
	}
	sum, size, err := sumFile(file)
	if err != nil {
		return nil, err
	}
	if size > maxObject {
		return nil, fmt.Errorf("the file has %d bytes, more than %d", size, maxObject)
	}
	id := sha256.Sum256([]byte(key + " " + sum))
	u := &upload{Key: key, SHA256: sum, Bytes: size, From: file, id: hex.EncodeToString(id[:]), done: make(chan struct{})}
	if old, err := c.reserve(u); old != nil || err != nil {
		if old != nil {
			err = os.Remove(file) // the same file again
		}
		return old, err
	}
	if err := c.secure(u, file); err != nil {
		c.drop(u)
		return nil, err
	}
	c.mu.Lock()
	u.busy = false
	c.mu.Unlock()
	return u, nil
}

// reserve makes room in the queue, or returns the upload that is the same.
func (c *Cache) reserve(u *upload) (*upload, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.queue.list, func(o *upload) bool { return o.id == u.id }); i >= 0 {
		return c.queue.list[i], nil
	}
	if len(c.queue.list) >= maxWaiting || c.queue.bytes+u.Bytes > c.cfg.MaxQueue {
		return nil, fmt.Errorf("%d files with %d bytes wait for the brain already", len(c.queue.list), c.queue.bytes)
	}
	u.busy = true // until it is safe
	c.queue.list = append(c.queue.list, u)
	c.queue.bytes += u.Bytes
	return nil, nil
}

// secure has the note on disk, which says where the file is, and then the file.
func (c *Cache) secure(u *upload, file string) error {
	note, err := json.Marshal(u)
	if err != nil {
		return err
	}
	to := c.uploadPath(u.id)
	if err := writeFile(to+noteSuffix, note); err != nil {
		return err
	}
	if err := moveFile(file, to); err != nil {
		return errors.Join(err, os.Remove(to+noteSuffix))
	}
	return nil
}

// moveFile moves a file, also to another file system, and has it on disk.
func moveFile(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		if err := copyFile(from, to); err != nil {
			return err
		}
		if err := os.Remove(from); err != nil {
			return err
		}
	}
	f, err := os.Open(to)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncFolder(filepath.Dir(to)))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// writeFile writes a small file whole or not at all.
func writeFile(path string, b []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone already when all went well
	_, err = temp.Write(b)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(temp.Name(), path), syncFolder(filepath.Dir(path)))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// drop takes an upload off the queue.
func (c *Cache) drop(u *upload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue.list = slices.DeleteFunc(c.queue.list, func(o *upload) bool { return o == u })
	c.queue.bytes -= u.Bytes
}

// Run brings waiting files to the brain until ctx ends, those of before the process began too.
func (c *Cache) Run(ctx context.Context) {
	places := make(chan struct{}, maxUploads)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for range maxUploads { // those under way end with ctx
				places <- struct{}{}
			}
			return
		case <-timer.C:
		case <-c.wake:
		}
		for u := c.due(); u != nil; u = c.due() {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				continue // the loop ends above
			}
			go func() {
				c.bring(ctx, u)
				<-places
			}()
		}
		timer.Reset(firstRetry)
	}
}

// due is an upload whose time has come, marked as busy; nil: there is none.
func (c *Cache) due() *upload {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	for _, u := range c.queue.list {
		if !u.busy && !now.Before(u.next) {
			u.busy = true
			return u
		}
	}
	return nil
}

// bring tries one upload once.
func (c *Cache) bring(ctx context.Context, u *upload) {
	err := c.put(ctx, u)
	switch {
	case err == nil:
		c.over(u, nil, os.Remove(c.uploadPath(u.id)))
	case errors.Is(err, ErrRefused):
		err = fmt.Errorf("store %s: %w", u.Key, err)
		c.cfg.Log.Error("the brain refuses a recording; it stays on this node", "key", u.Key, "file", c.path(uploadFolder, refusedName, u.id), "err", err)
		c.over(u, err, c.setAside(u))
	default:
		c.mu.Lock()
		u.busy = false
		u.delay = min(lastRetry, max(firstRetry, 2*u.delay))
		u.next = c.cfg.Now().Add(u.delay)
		c.mu.Unlock()
		if ctx.Err() == nil && u.delay <= firstRetry {
			c.cfg.Log.Warn("a recording waits for the brain", "key", u.Key, "err", err)
		}
	}
}

func (c *Cache) put(ctx context.Context, u *upload) error {
	f, err := os.Open(c.uploadPath(u.id))
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	return c.remote.Put(ctx, u.Key, f, u.Bytes, u.SHA256)
}

// setAside keeps what the brain does not want, with its note, for operators.
func (c *Cache) setAside(u *upload) error {
	if err := os.MkdirAll(c.path(uploadFolder, refusedName), 0o755); err != nil {
		return err
	}
	note, err := json.Marshal(u)
	if err != nil {
		return err
	}
	to := c.path(uploadFolder, refusedName, u.id)
	return errors.Join(writeFile(to+noteSuffix, note), os.Rename(c.uploadPath(u.id), to))
}

// over ends an upload. The note goes last: a note without its file says that nothing is to be done.
func (c *Cache) over(u *upload, result, cleared error) {
	if err := errors.Join(cleared, os.Remove(c.uploadPath(u.id+noteSuffix))); err != nil {
		c.cfg.Log.Warn("cannot clear up after an upload", "key", u.Key, "err", err)
	}
	c.drop(u)
	u.err = result
	close(u.done)
}
