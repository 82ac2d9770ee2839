// Package media keeps what callers hear and what is recorded of them: objects in a folder or an S3 bucket, the
// speech made of texts, the platform's prompts in many languages, and its music on hold.
package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob" // opens s3:// URLs
	"gocloud.dev/gcerrors"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Options say where the store is.
type Options struct {
	// URL is a folder's path, or s3://BUCKET?region=…&endpoint=…&use_path_style=true. The keys to a bucket are the
	// AWS client's: AWS_SHARED_CREDENTIALS_FILE names the file that has them, profile= in the URL the profile.
	URL string
	// Scratch is a folder for objects while they come in; "" = the system's.
	Scratch string
}

// Store keeps objects by key. It is safe for concurrent use.
type Store struct {
	bucket  *blob.Bucket
	scratch string
}

// Entry is one object of a listing.
type Entry struct {
	Key     string
	Bytes   int64
	Changed time.Time
}

const (
	sumName     = "sha256" // of an object's metadata
	contentType = "audio/wav"
	inMemory    = 1 << 20 // objects up to this size come in without a file
)

// Open opens the store. A folder is made when it is not there; a bucket must exist, and is not asked for here.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{scratch: o.Scratch}
	switch {
	case o.URL == "":
		return nil, brain.Errorf(brain.EInvalid, "the media store needs a folder or an s3:// URL")
	case strings.HasPrefix(o.URL, "s3://"):
		bucket, err := blob.OpenBucket(ctx, o.URL)
		if err != nil {
			return nil, fmt.Errorf("open the media store: %w", err)
		}
		s.bucket = bucket
	case strings.Contains(o.URL, "://"):
		return nil, brain.Errorf(brain.EInvalid, "media store %q: only a folder or s3://", o.URL)
	default:
		f, err := openFolder(o.URL)
		if err != nil {
			return nil, fmt.Errorf("open the media store: %w", err)
		}
		s.bucket = blob.NewBucket(f)
	}
	return s, nil
}

func (s *Store) Close() error { return s.bucket.Close() }

// Put stores what r gives under a key, in place of what was there, whole or not at all. More than limit bytes are
// refused with EInvalid. It returns when the object is safe.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, limit int64) (api.MediaRef, error) {
	if err := CheckKey(key); err != nil {
		return api.MediaRef{}, err
	}
	in, err := s.receive(r, limit)
	if err != nil {
		return api.MediaRef{}, fmt.Errorf("receive %s: %w", key, err)
	}
	defer in.Close()
	ref := api.MediaRef{Key: key, SHA256: in.sum, Bytes: in.size}
	if old, err := s.Stat(ctx, key); err == nil && old == ref {
		return ref, nil
	}
	return ref, s.write(ctx, ref, in.body)
}

func (s *Store) write(ctx context.Context, ref api.MediaRef, body io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a writer that is not closed gives up by it
	w, err := s.bucket.NewWriter(ctx, ref.Key, &blob.WriterOptions{ContentType: contentType, Metadata: map[string]string{sumName: ref.SHA256}})
	if err != nil {
		return told(ref.Key, err)
	}
	if _, err := io.Copy(w, body); err != nil {
		cancel()
		_ = w.Close() // the copy's error says why
		return told(ref.Key, err)
	}
	return told(ref.Key, w.Close())
}

// incoming is an object that has come in whole.
type incoming struct {
	body io.Reader
	file *os.File // nil: in memory
	sum  string
	size int64
}

func (in *incoming) Close() {
	if in.file != nil {
		_ = in.file.Close() // its name is gone already; nothing in it is needed any more
	}
}

// receive takes a body in, small ones in memory, and knows its sum: an object's metadata goes before its content.
func (s *Store) receive(r io.Reader, limit int64) (*incoming, error) {
	hash := sha256.New()
	r = io.TeeReader(io.LimitReader(r, limit+1), hash)
	var small bytes.Buffer
	n, err := io.CopyN(&small, r, min(inMemory, limit+1))
	in := &incoming{body: &small, size: n}
	if err == nil {
		if in.file, err = scratchFile(s.scratch); err != nil {
			return nil, err
		}
		in.body = in.file
		in.size, err = io.Copy(in.file, io.MultiReader(&small, r))
		if err == nil {
			_, err = in.file.Seek(0, io.SeekStart)
		}
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	if err == nil && in.size > limit {
		err = brain.Errorf(brain.EInvalid, "more than %d bytes", limit)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	in.sum = hex.EncodeToString(hash.Sum(nil))
	return in, nil
}

// scratchFile makes a file without a name: it is gone with the process.
func scratchFile(folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, "sipio-media-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close() // the first error says why
		return nil, err
	}
	return f, nil
}

// Stat returns what an object is, ENotFound when there is none.
func (s *Store) Stat(ctx context.Context, key string) (api.MediaRef, error) {
	if err := CheckKey(key); err != nil {
		return api.MediaRef{}, err
	}
	a, err := s.bucket.Attributes(ctx, key)
	if err != nil {
		return api.MediaRef{}, told(key, err)
	}
	ref := api.MediaRef{Key: key, SHA256: a.Metadata[sumName], Bytes: a.Size}
	if ref.SHA256 == "" { // put into the bucket by somebody else
		if ref.SHA256, err = s.sum(ctx, key); err != nil {
			return api.MediaRef{}, err
		}
	}
	return ref, nil
}

func (s *Store) sum(ctx context.Context, key string) (string, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return "", told(key, err)
	}
	defer r.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, r); err != nil {
		return "", told(key, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Get opens an object, ENotFound when there is none. Who reads it holds it against its sum.
func (s *Store) Get(ctx context.Context, key string) (io.ReadSeekCloser, api.MediaRef, error) {
	ref, err := s.Stat(ctx, key)
	if err != nil {
		return nil, ref, err
	}
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, ref, told(key, err)
	}
	return r, ref, nil
}

// Delete removes an object, ENotFound when there is none.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return told(key, s.bucket.Delete(ctx, key))
}

// List gives the objects whose key begins with a prefix, in order of their keys, until the first error.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		list := s.bucket.List(&blob.ListOptions{Prefix: prefix})
		for {
			o, err := list.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Entry{}, told(prefix, err))
				return
			}
			if !yield(Entry{o.Key, o.Size, o.ModTime}, nil) {
				return
			}
		}
	}
}

// told gives an error of the bucket the code that the rest of the program knows.
func told(key string, err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return brain.Errorf(brain.ENotFound, "no object %s", key)
	}
	return fmt.Errorf("media store, %s: %w", key, err)
}
