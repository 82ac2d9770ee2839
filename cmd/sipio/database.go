package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/config"
)

// maxDatabase bounds a database that is read for a trial, in bytes: it is held in memory twice.
const maxDatabase = 1 << 30

// readDatabase reads a brain's database without touching it: a copy is opened, beside a running brain
// or without one, so that neither a lock nor a migration of this program reaches the original.
func readDatabase(ctx context.Context, path string) (brain.Directory, error) {
	db, wal, err := settled(path)
	if err != nil {
		return nil, fmt.Errorf("read the database: %w", err)
	}
	dir, err := os.MkdirTemp("", "sipio-try-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("copy the database: %w", err)
	}
	defer os.RemoveAll(dir)
	twin := filepath.Join(dir, "config.db")
	if err := errors.Join(os.WriteFile(twin, db, 0o600), os.WriteFile(twin+"-wal", wal, 0o600)); err != nil {
		return nil, fmt.Errorf("copy the database: %w", err)
	}
	store, err := config.Open(ctx, twin)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return store.Directory(), store.Close() // a view stays readable
}

// settled reads a database and its write-ahead log until two readings in a row agree: nobody wrote
// between the end of the first and the beginning of the second, so file and log belong together.
func settled(path string) (db, wal []byte, err error) {
	const attempts = 5
	for range attempts {
		nextDB, nextWAL, err := readPair(path)
		if err != nil {
			return nil, nil, err
		}
		if db != nil && bytes.Equal(db, nextDB) && bytes.Equal(wal, nextWAL) {
			return db, wal, nil
		}
		db, wal = nextDB, nextWAL
	}
	return nil, nil, fmt.Errorf("%s is being written all the time: try again, or use sipio export and -f", path)
}

func readPair(path string) (db, wal []byte, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular() || info.Size() > maxDatabase || info.Size() == 0:
		return nil, nil, fmt.Errorf("%s is not a brain's database", path)
	}
	if db, err = os.ReadFile(path); err != nil {
		return nil, nil, err
	}
	wal, err = os.ReadFile(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // closed in order: everything is in the file
	}
	return db, wal, err
}
