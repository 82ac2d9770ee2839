package stir

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/internal/keyfile"
)

// maxFile bounds keys and roots in bytes, so that a wrong path is noticed.
const maxFile = 1 << 20

// readPause is how long a file that could not be read is left alone: it may be opened to us without being changed.
const readPause = time.Second

// file is a file that is read again when it has changed, or could not be read. What is wrong with it is told in the log once, and
// what was good before stays.
type file[T any] struct {
	path    string
	readers brain.KeyReaders
	parse   func([]byte) (T, error)
	log     *slog.Logger

	mu    sync.Mutex
	seen  os.FileInfo // of what was read last, good or not; nil = it was not there
	value T
	fault string    // what was wrong with it when it was tried last; "" = nothing
	tried time.Time // then
}

func openFile[T any](path string, readers brain.KeyReaders, parse func([]byte) (T, error), log *slog.Logger) (*file[T], error) {
	f := &file[T]{path: path, readers: readers, parse: parse, log: log}
	info, err := os.Stat(path)
	if err == nil {
		err = f.read(info)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// get is what the file says now.
func (f *file[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	isOld := err != nil && f.seen == nil || err == nil && f.seen != nil && same(info, f.seen)
	if isOld && (f.fault == "" || time.Since(f.tried) < readPause) {
		return f.value
	}
	f.tried, f.seen = time.Now(), nil
	if err == nil {
		err = f.read(info)
	}
	if err == nil {
		f.fault = ""
		f.log.Info("a changed file was read", "file", f.path)
	} else if text := err.Error(); text != f.fault {
		f.fault = text
		f.log.Error("a changed file is no good, what it said before goes on", "file", f.path, "err", err)
	}
	return f.value
}

func same(a, b os.FileInfo) bool {
	return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}

// read takes what the file says, when it is good. A file that is changed while it is read has another time afterwards.
func (f *file[T]) read(info os.FileInfo) error {
	f.seen = info
	body, err := keyfile.Read(f.path, maxFile, f.readers)
	if err != nil {
		return err
	}
	value, err := f.parse(body)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.value = value
	return nil
}
