package endpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Media is the media store.
type Media interface {
	// Stat says what an object is. brain.ENotFound: there is none; brain.EInvalid: the key is none.
	Stat(ctx context.Context, key string) (api.MediaRef, error)
	// Get opens an object.
	Get(ctx context.Context, key string) (io.ReadSeekCloser, api.MediaRef, error)
	// Put stores an object whole or not at all.
	Put(ctx context.Context, key string, r io.Reader, limit int64) (api.MediaRef, error)
}

// Bounds of /media.
const (
	maxMediaBytes  = 512 << 20        // one object
	maxTransfers   = 64               // at once at one brain
	transferTime   = 10 * time.Minute // one of them
	mediaType      = "audio/wav"
	voicemailPart  = "vm" // second part of a message's key
	recordingsPart = "rec"
)

// RegisterMedia puts /media/ on a mux.
func (s *Server) RegisterMedia(mux Mux, m Media) {
	mux.Handle(api.PathMedia, &mediaServer{server: s, media: m, limit: maxMediaBytes})
}

// mediaServer answers /media/KEY.
type mediaServer struct {
	server    *Server
	media     Media
	limit     int64
	transfers atomic.Int64
}

func (m *mediaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer m.server.survive(w, r)
	if err := m.answer(w, r); err != nil {
		m.server.refuse(w, r, mediaFault(err))
	}
}

func (m *mediaServer) answer(w http.ResponseWriter, r *http.Request) error {
	if _, err := m.server.admit(r, forNodes); err != nil {
		return err
	}
	defer m.transfers.Add(-1)
	if m.transfers.Add(1) > maxTransfers {
		return brain.Errorf(brain.EUnavailable, "more than %d transfers", maxTransfers)
	}
	key := strings.TrimPrefix(r.URL.Path, api.PathMedia)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return m.get(w, r, key)
	case http.MethodPut:
		return m.put(w, r, key)
	}
	w.Header().Set("Allow", "GET, HEAD, PUT")
	return badBody(http.StatusMethodNotAllowed, countBadMethod, "use GET, HEAD or PUT")
}

// get answers with an object, or the part of it that Range asks for.
func (m *mediaServer) get(w http.ResponseWriter, r *http.Request, key string) error {
	body, ref, err := m.media.Get(r.Context(), key)
	if err != nil {
		return err
	}
	defer body.Close()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(transferTime)) // a writer without deadlines needs none
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", strconv.Quote(ref.SHA256))
	h.Set(api.HeaderSHA256, ref.SHA256)
	http.ServeContent(w, r, "", time.Time{}, body)
	return nil
}

// put stores what a node recorded: a message of a mailbox or a recording of an account that there is. What is there
// with the same content is answered alike; If-None-Match: * refuses to replace other content (RFC 9110 section 13.1.2).
func (m *mediaServer) put(w http.ResponseWriter, r *http.Request, key string) error {
	if err := m.writable(key); err != nil {
		return err
	}
	if r.ContentLength > m.limit {
		return m.tooLarge()
	}
	sum := strings.ToLower(r.Header.Get(api.HeaderSHA256))
	if sum != "" && !isSum(sum) {
		return badField(countBadType, api.HeaderSHA256, "is not 64 hex digits")
	}
	if r.Header.Get("If-None-Match") == "*" {
		old, err := m.media.Stat(r.Context(), key)
		if err == nil && (sum == "" || old.SHA256 != sum) {
			return badBody(http.StatusPreconditionFailed, countBadType, "there is an object of this key with other content")
		}
		if err != nil && brain.CodeOf(err) != brain.ENotFound {
			return err
		}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(transferTime)) // a reader without deadlines needs none
	body := &checkedBody{r: http.MaxBytesReader(w, r.Body, m.limit), hash: sha256.New(), want: sum, length: r.ContentLength}
	ref, err := m.media.Put(r.Context(), key, body, m.limit)
	if err != nil {
		return m.bodyFault(err)
	}
	w.Header().Set(api.HeaderSHA256, ref.SHA256)
	write(w, http.StatusOK, typeJSON, &ref)
	return nil
}

// writable says whether nodes may store under a key.
func (m *mediaServer) writable(key string) error {
	parts := strings.Split(key, "/")
	if len(parts) < 4 || parts[1] != voicemailPart && parts[1] != recordingsPart {
		return badBody(http.StatusForbidden, countRefusedScope, "nodes store messages and recordings only, not %s", quote(key))
	}
	if m.server.Config.Directory().ByAccount(parts[0]) == nil {
		return badBody(http.StatusForbidden, countRefusedScope, "no account %s", quote(parts[0]))
	}
	return nil
}

func (m *mediaServer) tooLarge() error {
	return badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "an object has at most %d bytes", m.limit)
}

var errWrongSum = errors.New("the content does not have the sum that " + api.HeaderSHA256 + " says")

// bodyFault tells a fault of the body from one of the store.
func (m *mediaServer) bodyFault(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return m.tooLarge()
	}
	if errors.Is(err, errWrongSum) {
		return badField(countBadBroken, api.HeaderSHA256, "the content has another sum")
	}
	if broken, ok := errors.AsType[*bodyError](err); ok {
		return brokenBody(broken.err)
	}
	return err
}

// mediaFault gives the store's errors their status.
func mediaFault(err error) error {
	if _, ok := errors.AsType[*fault](err); ok {
		return err
	}
	switch brain.CodeOf(err) {
	case brain.ENotFound:
		return badBody(http.StatusNotFound, countBadType, "%s", err)
	case brain.EInvalid:
		return badBody(http.StatusBadRequest, countBadType, "%s", err)
	}
	return err
}

// bodyError is an error of reading the body, as against one of storing it.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return fmt.Sprintf("body: %v", e.err) }
func (e *bodyError) Unwrap() error { return e.err }

// checkedBody ends with an error instead of io.EOF when the content is not what was announced: then nothing is stored.
type checkedBody struct {
	r      io.Reader
	hash   hash.Hash
	want   string // "" = any
	length int64  // announced; -1 = any
	got    int64
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.hash.Write(p[:n])
	b.got += int64(n)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, &bodyError{err}
	case b.length >= 0 && b.got != b.length:
		return n, &bodyError{io.ErrUnexpectedEOF}
	case b.want != "" && hex.EncodeToString(b.hash.Sum(nil)) != b.want:
		return n, errWrongSum
	}
	return n, io.EOF
}

func isSum(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}
