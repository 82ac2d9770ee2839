package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// MaxSnapshot is the largest snapshot that LoadSnapshot takes, in bytes.
const MaxSnapshot = 1 << 30

// A snapshot is snapshotMark, the SHA-256 of what follows it, and the database: SQLite itself does not notice when a text in it
// has changed. Snapshots of earlier versions begin with the database, and have no sum.
const (
	snapshotMark = "sipio config 1\n\x00" // as long as SQLite's own
	sqliteMark   = "SQLite format 3\x00"
)

// WriteSnapshot writes the whole configuration with its history, for LoadSnapshot on another brain, and
// returns the version that it is of. Changes wait while the file is copied on this machine, not while the
// copy is written to w. It is as secret as the file.
func (s *Store) WriteSnapshot(ctx context.Context, w io.Writer) (version int64, err error) {
	twin, version, err := s.twin(ctx)
	if err != nil {
		return 0, fmt.Errorf("copy the configuration: %w", err)
	}
	defer twin.Close()
	sum := sha256.New()
	if _, err = io.Copy(sum, twin); err == nil {
		_, err = twin.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, fmt.Errorf("read the copy of the configuration: %w", err)
	}
	if _, err = w.Write(sum.Sum([]byte(snapshotMark))); err == nil {
		_, err = io.Copy(w, twin)
	}
	if err != nil {
		return 0, fmt.Errorf("write the snapshot: %w", err)
	}
	return version, nil
}

// twin makes a copy of the file that has no name any more: it is gone when it is closed.
func (s *Store) twin(ctx context.Context) (*os.File, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path + ".outgoing"
	if err := renew(path); err != nil { // SQLite would make it readable by others
		return nil, 0, err
	}
	defer os.Remove(path)
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	return f, s.state.Load().version, err
}

// renew makes an empty file that only its owner can read, in the place of one that a crash has left.
func renew(path string) error {
	if err := removeDatabase(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// removeDatabase removes a SQLite file and what belongs to it.
func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// LoadSnapshot makes the file at path of a snapshot that WriteSnapshot wrote, and returns its version.
// Nobody may have the file open. A file that is there and holds anything is kept beside it, with ".old"
// at the end of its name; one that is newer than the snapshot is not replaced. A snapshot that is cut
// short or damaged changes nothing.
func LoadSnapshot(ctx context.Context, path string, r io.Reader) (version int64, err error) {
	incoming := path + ".incoming"
	defer func() {
		if gone := removeDatabase(incoming); err == nil && gone != nil {
			err = gone
		}
	}()
	if err := receive(incoming, r); err != nil {
		return 0, fmt.Errorf("receive the snapshot: %w", err)
	}
	if version, err = inspect(ctx, incoming); err != nil {
		return 0, fmt.Errorf("the snapshot is no configuration: %w", err)
	}
	if err := setAside(ctx, path, version); err != nil {
		return 0, err
	}
	if err := os.Rename(incoming, path); err != nil {
		return 0, fmt.Errorf("put the snapshot in its place: %w", err)
	}
	return version, syncFolder(filepath.Dir(path))
}

func receive(path string, r io.Reader) error {
	if err := renew(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = copyChecked(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// copyChecked writes the database of a snapshot to f. What is not the one that its sum was made of is an error.
func copyChecked(f io.Writer, r io.Reader) error {
	mark := make([]byte, len(snapshotMark))
	if _, err := io.ReadFull(r, mark); err != nil {
		return fmt.Errorf("read its first bytes: %w", err)
	}
	want, sum := make([]byte, sha256.Size), sha256.New()
	switch string(mark) {
	case snapshotMark:
		if _, err := io.ReadFull(r, want); err != nil {
			return fmt.Errorf("read its sum: %w", err)
		}
		f = io.MultiWriter(f, sum)
	case sqliteMark:
		want = sum.Sum(nil) // of nothing: it has none
		r = io.MultiReader(bytes.NewReader(mark), r)
	default:
		return errors.New("it does not begin as one")
	}
	n, err := io.Copy(f, io.LimitReader(r, MaxSnapshot+1))
	switch {
	case err != nil:
		return err
	case n > MaxSnapshot:
		return fmt.Errorf("it has more than %d bytes", MaxSnapshot)
	case !bytes.Equal(sum.Sum(nil), want):
		return errors.New("it is damaged: it is not what its SHA-256 was made of")
	}
	return nil
}

// inspect reads a database whole, brings its tables up to date, and returns its version.
func inspect(ctx context.Context, path string) (version int64, err error) {
	db, err := openDB(ctx, path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return 0, err
	}
	if verdict != "ok" {
		return 0, errors.New(verdict)
	}
	loaded, err := load(ctx, db)
	if err != nil {
		return 0, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // only reads
	return loaded.version, checkReferences(ctx, tx)
}

// setAside keeps the file that a snapshot of the version is about to replace.
func setAside(ctx context.Context, path string, version int64) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return removeDatabase(path) // a log without its file would be taken for the new one's
	}
	own, err := inspect(ctx, path)
	if err != nil {
		return fmt.Errorf("%s cannot be read, move it away first: %w", path, err)
	}
	if own > version {
		return fmt.Errorf("%s has version %d, the snapshot %d: move the file away first if the snapshot is what you want", path, own, version)
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return fmt.Errorf("%s is open in another process", path)
	}
	if own == 0 {
		return nil
	}
	if err := removeDatabase(path + ".old"); err != nil {
		return err
	}
	if err := os.Link(path, path+".old"); err != nil {
		return fmt.Errorf("keep the old file: %w", err)
	}
	return nil
}

// syncFolder makes a rename survive a power cut.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
