package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/sipio/sipio/brain"
)

// What a folder may be. A store made on one machine must never be opened as a member of a cluster: the cluster
// does not know its streams and deletes them within a minute.
const (
	modeSolo     = "solo"
	modeCluster  = "cluster"  // followed by the cluster's name
	modeMigrated = "migrated" // likewise: the store was moved into that cluster
)

// folder is a data folder that this process has to itself.
type folder struct {
	dir  string
	lock *os.File
}

// openFolder makes the folder if need be, takes its lock and holds it to the mode ("solo", "cluster NAME").
// Nothing but the lock and a new folder's marker is written.
func openFolder(dir, mode string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the store: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the store: %w", err)
	}
	f := &folder{dir: dir, lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: stop it first (%w)", dir, err), lock.Close())
	}
	if err := f.hold(mode); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// Close gives the folder back.
func (f *folder) Close() error { return f.lock.Close() }

// hold checks the marker against the mode, or writes it into a folder that is new.
func (f *folder) hold(mode string) error {
	have, err := os.ReadFile(filepath.Join(f.dir, "mode"))
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.mustBeEmpty(mode); err != nil {
			return err
		}
		return f.mark(mode)
	}
	if err != nil {
		return fmt.Errorf("read the mode of the store: %w", err)
	}
	if got := strings.TrimSpace(string(have)); got != mode {
		return fmt.Errorf("%w: %s holds a store of mode %q and was to be opened as %q. %s", ErrMode, f.dir, got, mode, adviceFor(got))
	}
	return nil
}

func adviceFor(mode string) string {
	if strings.HasPrefix(mode, modeMigrated) {
		return "Its content was moved into the cluster and lives on there: set the cluster's URLs. The folder may be kept as a backup or deleted"
	}
	return "Opening it all the same would delete its content. To move the store of one machine into a cluster use `sipio cluster migrate`"
}

// mustBeEmpty refuses a folder with a store in it but no marker: whose it is cannot be known.
func (f *folder) mustBeEmpty(mode string) error {
	accounts, err := os.ReadDir(filepath.Join(f.dir, "jetstream"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into the store: %w", err)
	}
	if len(accounts) > 0 {
		return fmt.Errorf("%w: %s holds a store without a mode file, so whether it is of one machine or of a cluster is unknown; it was to be opened as %q. "+
			"If you know that it is, write that word into %s. To move the store of one machine into a cluster use `sipio cluster migrate`", ErrMode, f.dir, mode, filepath.Join(f.dir, "mode"))
	}
	return nil
}

// mark writes the mode so that it is on disk, whole or not at all, when mark returns.
func (f *folder) mark(mode string) error {
	tmp := filepath.Join(f.dir, "mode.new")
	file, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the mode of the store: %w", err)
	}
	_, err = file.WriteString(mode + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the mode of the store: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(f.dir, "mode")); err != nil {
		return fmt.Errorf("write the mode of the store: %w", err)
	}
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("write the mode of the store: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// marks remembers, beside the store, the last acknowledged sequence of each shard. A log that ends before its mark
// has lost its end, which the store itself cuts off without a word. Not synced: after a power cut a mark may be
// old, never too high.
type marks struct {
	mu   sync.Mutex
	file *os.File
	last [brain.Shards]uint64
}

func openMarks(dir string) (*marks, error) {
	file, err := os.OpenFile(filepath.Join(dir, "highwater"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the marks of the shards: %w", err)
	}
	m := &marks{file: file}
	var raw [8 * brain.Shards]byte
	n, _ := file.ReadAt(raw[:], 0) // a short file is one of a store that was just made
	for i := range n / 8 {
		m.last[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	return m, nil
}

func (m *marks) get(shard int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[shard]
}

func (m *marks) set(shard int, seq uint64) error {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], seq)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[shard] = seq
	if _, err := m.file.WriteAt(raw[:], int64(8*shard)); err != nil {
		return fmt.Errorf("write the mark of shard %d: %w", shard, err)
	}
	return nil
}

// Close closes the file.
func (m *marks) Close() error { return m.file.Close() }
