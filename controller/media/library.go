package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/media/wav"
)

// MaxUpload bounds a file that an operator uploads, in bytes.
const MaxUpload = 100 << 20

// maxUploads bounds uploads that are converted at once; each may take 150 MB of memory.
const maxUploads = 2

// Library turns what a call is to hear into objects of the store, and makes those that are missing. It is safe for
// concurrent use.
type Library struct {
	Store *Store
	Log   *slog.Logger     // nil = slog.Default()
	Now   func() time.Time // nil = time.Now

	speaker *speaker
	uploads chan struct{}
	known   known
}

// NewLibrary makes a Library. engine nil: only what is in the store can be heard.
func NewLibrary(store *Store, engine Engine) *Library {
	return &Library{Store: store, Log: slog.Default(), Now: time.Now, speaker: newSpeaker(engine),
		uploads: make(chan struct{}, maxUploads)}
}

// Resolve returns the objects of a sound, one after the other. acct is the configuration of the call's account.
// ENotFound: it has none; EUnavailable: it cannot be made now.
func (l *Library) Resolve(ctx context.Context, acct *brain.AccountConfig, s brain.Sound) ([]api.MediaRef, error) {
	var ref api.MediaRef
	var err error
	switch {
	case s.MediaID != "":
		ref, err = l.file(ctx, acct, s, s.MediaID)
	case s.PlaylistID != "":
		return l.playlist(ctx, acct, s)
	case s.Prompt != "":
		ref, err = l.prompt(ctx, acct, s)
	case s.Text != "":
		ref, err = l.speak(ctx, acct, s)
	case s.Key != "":
		ref, err = l.object(ctx, acct, s.Key)
	default:
		err = brain.Errorf(brain.EInvalid, "a sound without anything to hear")
	}
	if err != nil {
		return nil, err
	}
	return []api.MediaRef{ref}, nil
}

// file is a media file of the account: what was uploaded, else its text spoken.
func (l *Library) file(ctx context.Context, acct *brain.AccountConfig, s brain.Sound, id string) (api.MediaRef, error) {
	f := acct.MediaFiles[id]
	switch {
	case f == nil:
		return api.MediaRef{}, brain.Errorf(brain.ENotFound, "no media file %s", id)
	case f.ObjectKey != "":
		return api.MediaRef{Key: f.ObjectKey, SHA256: f.SHA256, Bytes: int64(f.Bytes)}, nil
	case f.Text == "":
		return api.MediaRef{}, brain.Errorf(brain.ENotFound, "media file %s has no content yet", id)
	}
	s.Text = f.Text
	if f.Language != "" {
		s.Language = f.Language
	}
	return l.speak(ctx, acct, s)
}

// playlist plays what there is: one file without content does not silence the others.
func (l *Library) playlist(ctx context.Context, acct *brain.AccountConfig, s brain.Sound) ([]api.MediaRef, error) {
	p := acct.Playlists[s.PlaylistID]
	if p == nil {
		return nil, brain.Errorf(brain.ENotFound, "no playlist %s", s.PlaylistID)
	}
	var refs []api.MediaRef
	var failed error
	for _, id := range p.MediaIDs {
		ref, err := l.file(ctx, acct, s, id)
		if err != nil {
			failed = err
			continue
		}
		refs = append(refs, ref)
	}
	if len(refs) > 0 {
		return refs, nil
	}
	if failed != nil {
		return nil, failed
	}
	return nil, brain.Errorf(brain.ENotFound, "playlist %s is empty", s.PlaylistID)
}

// object is one by its key. An account hears its own and the platform's.
func (l *Library) object(ctx context.Context, acct *brain.AccountConfig, key string) (api.MediaRef, error) {
	if owner := Owner(key); owner != "" && owner != acct.Account.ID {
		return api.MediaRef{}, brain.Errorf(brain.ENotFound, "no object %.100q", key)
	}
	if key == DefaultMusic {
		return l.Music(ctx)
	}
	return l.Store.Stat(ctx, key)
}

// speak returns a text spoken in the best language that the engine has.
func (l *Library) speak(ctx context.Context, acct *brain.AccountConfig, s brain.Sound) (api.MediaRef, error) {
	text, err := cleanText(s.Text)
	if err != nil {
		return api.MediaRef{}, err
	}
	if l.speaker.engine == nil {
		return api.MediaRef{}, brain.Errorf(brain.EUnavailable, "no speech engine is set up")
	}
	speech := Speech{Text: text, Gender: gender(s.Gender, acct), Voice: s.Voice}
	for _, tag := range languages(s.Language, acct.Account.Language) {
		if slices.Contains(l.speaker.engine.Languages(), tag) {
			speech.Language = tag
			break
		}
	}
	if speech.Language == "" {
		return api.MediaRef{}, brain.Errorf(brain.ENotFound, "the speech engine has no language for %.35q", s.Language)
	}
	return l.made(ctx, spokenKey(l.speaker.engine.Name(), speech), func(ctx context.Context) ([]byte, error) {
		return l.speaker.say(ctx, speech)
	})
}

// gender is the one asked for, else the account's, else male, the account's default.
func gender(asked string, acct *brain.AccountConfig) string {
	for _, g := range []string{asked, acct.Account.VoiceGender} {
		if g == Male || g == Female {
			return g
		}
	}
	return Male
}

// made returns an object, and makes it when it is not in the store.
func (l *Library) made(ctx context.Context, key string, make func(context.Context) ([]byte, error)) (api.MediaRef, error) {
	if ref, err := l.find(ctx, key); err == nil || brain.CodeOf(err) != brain.ENotFound {
		return ref, err
	}
	return l.speaker.once(ctx, key, func(ctx context.Context) (api.MediaRef, error) {
		if ref, err := l.Store.Stat(ctx, key); err == nil { // another brain, or a moment ago
			l.known.put(key, ref, l.now())
			return ref, nil
		}
		b, err := make(ctx)
		if err != nil {
			return api.MediaRef{}, err
		}
		ref, err := l.Store.Put(ctx, key, bytes.NewReader(b), int64(len(b)))
		if err == nil {
			l.known.put(key, ref, l.now())
		}
		return ref, err
	})
}

// find is Stat with a memory: calls ask for the same few prompts again and again.
func (l *Library) find(ctx context.Context, key string) (api.MediaRef, error) {
	if ref, ok := l.known.get(key, l.now()); ok {
		if ref.Key == "" {
			return ref, brain.Errorf(brain.ENotFound, "no object %s", key)
		}
		return ref, nil
	}
	ref, err := l.Store.Stat(ctx, key)
	if err == nil || brain.CodeOf(err) == brain.ENotFound {
		l.known.put(key, ref, l.now())
	}
	return ref, err
}

func (l *Library) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

func (l *Library) log() *slog.Logger {
	if l.Log == nil {
		return slog.Default()
	}
	return l.Log
}

// Bounds of known.
const (
	knownFor  = time.Minute // how long a change by another hand stays unseen
	maxKnown  = 20000       // keys
	knownNone = 10 * time.Second
)

// known remembers which of the platform's objects there are; a zero MediaRef: there is none.
type known struct {
	mu   sync.Mutex
	refs map[string]knownRef
}

type knownRef struct {
	ref   api.MediaRef
	until time.Time
}

func (k *known) get(key string, now time.Time) (api.MediaRef, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.refs[key]
	return r.ref, ok && now.Before(r.until)
}

func (k *known) put(key string, ref api.MediaRef, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refs == nil || len(k.refs) >= maxKnown {
		k.refs = make(map[string]knownRef)
	}
	until := now.Add(knownFor)
	if ref.Key == "" {
		until = now.Add(knownNone)
	}
	k.refs[key] = knownRef{ref, until}
}

// Uploaded is what a media file's row is told of its content.
type Uploaded struct {
	Ref        api.MediaRef
	Format     string // always wav
	DurationMS int
}

// Upload reads a WAV file that an operator sends for a media file and stores it at 8 kHz, one channel. The content
// is part of the key: calls hear the old one until the row names the new, and whoever changed the row deletes the
// old. EInvalid says what is wrong with the file; EUnavailable: other uploads are under way.
func (l *Library) Upload(ctx context.Context, accountID, mediaID string, r io.Reader) (Uploaded, error) {
	select {
	case l.uploads <- struct{}{}:
		defer func() { <-l.uploads }()
	default:
		return Uploaded{}, brain.Errorf(brain.EUnavailable, "%d uploads are being read already", maxUploads)
	}
	limited := &io.LimitedReader{R: r, N: MaxUpload + 1}
	samples, err := wav.Decode(limited)
	switch {
	case limited.N <= 0:
		return Uploaded{}, brain.Errorf(brain.EInvalid, "a media file has at most %d bytes", MaxUpload)
	case errors.Is(err, wav.ErrFormat):
		return Uploaded{}, brain.Errorf(brain.EInvalid, "%s", err)
	case err != nil:
		return Uploaded{}, fmt.Errorf("read the upload: %w", err)
	}
	b := wav.Encode(samples)
	ref, err := l.Store.Put(ctx, uploadKey(accountID, mediaID, b), bytes.NewReader(b), int64(len(b)))
	return Uploaded{ref, "wav", wav.DurationMS(len(samples))}, err
}

// uploadKey is where the content of a media file is kept.
func uploadKey(accountID, mediaID string, content []byte) string {
	return strings.Join([]string{accountID, "media", mediaID + "-" + shortSum(content) + ".wav"}, "/")
}

// shortSum tells contents of the same name apart.
func shortSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
