package config

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/sipio/sipio/brain"
)

// Bounds of a message of the change log in bytes.
const (
	// MaxMessage is the largest one that is appended: what the log must take. A change set that does
	// not fit is refused with EInvalid.
	MaxMessage  = 8 << 20
	maxUnpacked = 256 << 20 // of a message that is packed
	packFrom    = 4 << 10   // smaller ones stay readable
)

// entryForm is the form of messages that this program writes. A message of a higher form is refused.
const entryForm = 1

// entry is one message of the change log: a change set as row images. What is longer than packFrom is
// packed with gzip. Images have the digests of devices and the hashes of API keys: a log is as secret as
// the file.
type entry struct {
	Form    int    `json:"form"`
	ID      string `json:"id"` // of this change set alone, so that its writer knows it again
	Version int64  `json:"version"`
	TimeMS  int64  `json:"time_ms"` // epoch milliseconds of the writer's clock
	Actor   string `json:"actor"`
	Summary string `json:"summary"`
	Peer    string `json:"peer,omitempty"`   // address that the change was asked for from
	Digest  string `json:"digest,omitempty"` // of the whole configuration before it, in the first message after an existing file
	Rows    []row  `json:"rows"`
}

// row is one resource after a change; a delete has no image.
type row struct {
	Op        brain.ChangeOp  `json:"op"`
	Kind      brain.Kind      `json:"kind"`
	ID        string          `json:"id"`
	AccountID string          `json:"account_id"` // "" for the platform
	After     json.RawMessage `json:"after,omitempty"`

	after brain.Resource // what After is made of, or read into
}

// keyImage is an API key with its hash, which JSON does not show otherwise.
type keyImage struct {
	*brain.APIKey
	Hash string `json:"hash"`
}

func newEntry(rev brain.Revision, ops []op, digest string) *entry {
	e := &entry{Form: entryForm, ID: "change_" + strings.ToLower(ulid.Make().String()), Version: rev.Version, TimeMS: rev.TimeMS, Actor: rev.Actor,
		Summary: rev.Summary, Digest: digest, Rows: []row{}}
	for _, o := range ops {
		r := o.resource()
		e.Rows = append(e.Rows, row{Op: o.kind, Kind: r.ResourceKind(), ID: r.ResourceID(), AccountID: r.OwnerID(), after: o.after})
	}
	return e
}

func (e *entry) revision() brain.Revision {
	return brain.Revision{Version: e.Version, TimeMS: e.TimeMS, Actor: e.Actor, Summary: e.Summary}
}

// wholeImage is a row with everything that the file keeps of it.
func wholeImage(r brain.Resource) ([]byte, error) {
	if k, ok := r.(*brain.APIKey); ok {
		return json.Marshal(keyImage{k, k.Hash})
	}
	return json.Marshal(r)
}

// writeEntry makes the message of a change set.
func writeEntry(e *entry) ([]byte, error) {
	for i := range e.Rows {
		if e.Rows[i].after == nil {
			continue
		}
		image, err := wholeImage(e.Rows[i].after)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", e.Rows[i].ID, err)
		}
		e.Rows[i].After = image
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write change set %d: %w", e.Version, err)
	}
	if len(data) > maxUnpacked {
		return nil, tooLarge(len(data))
	}
	if len(data) >= packFrom {
		if data, err = pack(data); err != nil {
			return nil, fmt.Errorf("pack change set %d: %w", e.Version, err)
		}
	}
	if len(data) > MaxMessage {
		return nil, tooLarge(len(data))
	}
	return data, nil
}

func tooLarge(size int) error {
	return brain.Errorf(brain.EInvalid, "the change set is too large for the change log (%d bytes): apply it in parts", size)
}

func pack(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

func unpack(data []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) { // RFC 1952 section 2.3.1; JSON begins otherwise
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(out) > limit {
		err = fmt.Errorf("unpacked it has more than %d bytes", limit)
	}
	return out, err
}

// readEntry reads the message of a version. What this program does not know in it is an error: a row of
// which a part was left out would make this brain's file another one than that of the others.
func readEntry(version int64, data []byte) (*entry, error) {
	fail := func(err error) (*entry, error) {
		return nil, fmt.Errorf("read version %d of the change log: %w", version, err)
	}
	text, err := unpack(data, maxUnpacked)
	if err != nil {
		return fail(err)
	}
	var form struct{ Form int }
	if err := json.Unmarshal(text, &form); err != nil {
		return fail(err)
	}
	if form.Form != entryForm {
		return fail(fmt.Errorf("it has form %d, this program knows %d: it was written by a newer sipio", form.Form, entryForm))
	}
	e := &entry{}
	if err := strictly(text, e); err != nil {
		return fail(err)
	}
	if e.Version != version {
		return fail(fmt.Errorf("it says that it is version %d", e.Version))
	}
	for i := range e.Rows {
		if err := e.Rows[i].read(); err != nil {
			return fail(fmt.Errorf("rows[%d]: %w", i, err))
		}
	}
	return e, nil
}

func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end")
	}
	return nil
}

// read makes the resource of the image. Fields that the image leaves out have their defaults.
func (r *row) read() error {
	known := brain.NewResource(r.Kind)
	deleted := r.Op == brain.OpDelete
	switch {
	case known == nil:
		return fmt.Errorf("no resource is called %q: it was written by a newer sipio", cut(string(r.Kind)))
	case !deleted && r.Op != brain.OpCreate && r.Op != brain.OpUpdate:
		return fmt.Errorf("no change is called %q", cut(string(r.Op)))
	case deleted != (len(r.After) == 0):
		return errors.New("a delete has no image, everything else has one")
	case deleted:
		return nil
	}
	if err := readImage(r.After, known); err != nil {
		return fmt.Errorf("%s %q: %w", r.Kind, cut(r.ID), err)
	}
	if known.ResourceID() != r.ID || known.OwnerID() != r.AccountID || r.ID == "" {
		return fmt.Errorf("the image is that of %q in account %q", cut(known.ResourceID()), cut(known.OwnerID()))
	}
	r.after = known
	return nil
}

func readImage(text []byte, into brain.Resource) error {
	var err error
	if k, ok := into.(*brain.APIKey); ok {
		image := keyImage{APIKey: k}
		err = strictly(text, &image)
		k.Hash = image.Hash
	} else {
		err = strictly(text, into)
	}
	brain.ApplyDefaults(into)
	return err
}

// ops are the changes of the message, to a state that is right before it.
func (e *entry) ops(base *state) ([]op, error) {
	ops := make([]op, 0, len(e.Rows))
	seen := make(map[string]bool, len(e.Rows))
	for _, r := range e.Rows {
		before := base.get(r.Kind, r.AccountID, r.ID)
		if seen[r.ID] || (before == nil) != (r.Op == brain.OpCreate) {
			return nil, differs("version %d would %s the %s %q, which does not fit the file", e.Version, r.Op, r.Kind, cut(r.ID))
		}
		seen[r.ID] = true
		ops = append(ops, opOf(before, r.after))
	}
	return ops, nil
}

// Digest returns the SHA-256, in hex, of every resource with all that is kept of it, and the version it
// is of. Brains of one sipio release that have the same version of one configuration have the same
// digest; of another release only if it has the same fields.
func (s *Store) Digest(ctx context.Context) (version int64, sum string, err error) {
	if err := ctx.Err(); err != nil {
		return 0, "", err
	}
	base := s.state.Load()
	sum, err = base.digest()
	return base.version, sum, err
}

func (s *state) digest() (string, error) {
	h := sha256.New()
	for _, owner := range slices.Sorted(maps.Keys(s.tenants)) {
		for _, k := range brain.Kinds {
			for _, r := range s.tenants[owner].rows[k] {
				image, err := wholeImage(r)
				if err != nil {
					return "", fmt.Errorf("digest of %s: %w", r.ResourceID(), err)
				}
				fmt.Fprintf(h, "%s %s\n", k, image)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
