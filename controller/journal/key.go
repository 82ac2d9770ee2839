package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

// checkKey holds a key to what can be a subject, and a life to what the store can keep.
func checkKey(key string, ttl time.Duration) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_=/.", r)
	}
	if key == "" || len(key) > 200 || strings.ContainsFunc(key, bad) || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") || strings.Contains(key, "..") {
		return brain.Errorf(brain.EInvalid, "key %q: letters, digits and -_=/. between them, at most 200", key)
	}
	if ttl != 0 && ttl < time.Second {
		return brain.Errorf(brain.EInvalid, "key %s: a life of %s is too short, one second at least", key, ttl)
	}
	return nil
}

// PutKey sets a steering key that all brains see. It vanishes after ttl, at least a second, in whole seconds; 0 keeps it.
// Each PutKey begins the life anew.
func (b *Bus) PutKey(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkKey(key, ttl); err != nil {
		return err
	}
	m := &nats.Msg{Subject: keyPrefix + key, Data: value, Header: nats.Header{}}
	if ttl > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64((ttl+time.Second-1)/time.Second), 10))
	}
	if _, err := b.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("put key %s: %w", key, err)
	}
	return nil
}

// Key reads a steering key from the store's leader; brain.ENotFound when it is not there or has expired.
func (b *Bus) Key(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key, 0); err != nil {
		return nil, err
	}
	s, err := b.js.Stream(ctx, keyStream)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", key, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, keyPrefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, brain.Errorf(brain.ENotFound, "no key %s", key)
	}
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", key, err)
	}
	return m.Data, nil
}

// DropKey deletes a steering key; one that is not there is no error.
func (b *Bus) DropKey(ctx context.Context, key string) error {
	if err := checkKey(key, 0); err != nil {
		return err
	}
	s, err := b.js.Stream(ctx, keyStream)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(keyPrefix+key))
	}
	if err != nil {
		return fmt.Errorf("drop key %s: %w", key, err)
	}
	return nil
}

// Names of the object that holds a copy of the configuration.
const (
	snapshotBucket  = "SNAPSHOTS"
	snapshotName    = "config"
	snapshotVersion = "version"
)

func (b *Bus) snapshots(ctx context.Context) (jetstream.ObjectStore, error) {
	s, err := b.js.ObjectStore(ctx, snapshotBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: snapshotBucket, Replicas: b.cfg.Replicas})
	}
	if err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	return s, nil
}

// PutSnapshot keeps a copy of the configuration as of a version, for a brain that is new. It replaces one that is older;
// of one that is newer nothing is changed.
func (b *Bus) PutSnapshot(ctx context.Context, version int64, r io.Reader) error {
	s, err := b.snapshots(ctx)
	if err != nil {
		return err
	}
	if info, err := s.GetInfo(ctx, snapshotName); err == nil {
		if have, err := strconv.ParseInt(info.Metadata[snapshotVersion], 10, 64); err == nil && have >= version {
			return nil
		}
	} else if !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("look at the snapshot of the configuration: %w", err)
	}
	meta := jetstream.ObjectMeta{Name: snapshotName, Metadata: map[string]string{snapshotVersion: strconv.FormatInt(version, 10)}}
	if _, err := s.Put(ctx, meta, r); err != nil {
		return fmt.Errorf("keep the snapshot of the configuration: %w", err)
	}
	return nil
}

// Snapshot is the copy that was kept last. Reading it ends with an error when its checksum does not match. brain.ENotFound: there is none.
func (b *Bus) Snapshot(ctx context.Context) (version int64, rc io.ReadCloser, err error) {
	s, err := b.snapshots(ctx)
	if err != nil {
		return 0, nil, err
	}
	o, err := s.Get(ctx, snapshotName)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return 0, nil, brain.Errorf(brain.ENotFound, "no snapshot of the configuration")
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the snapshot of the configuration: %w", err)
	}
	info, err := o.Info()
	if err == nil {
		version, err = strconv.ParseInt(info.Metadata[snapshotVersion], 10, 64)
	}
	if err != nil {
		return 0, nil, errors.Join(fmt.Errorf("read the snapshot of the configuration: %w", err), o.Close())
	}
	return version, o, nil
}
