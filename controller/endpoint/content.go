package endpoint

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Content is the sounds of accounts, as operators bring and take them.
type Content interface {
	Media
	// Accept stores a file for a media file of the configuration, and enters what it is there. brain.EInvalid says what
	// is wrong with the file, brain.ENotFound that there is no such media file.
	Accept(ctx context.Context, actor, accountID, mediaID string, r io.Reader) (*brain.MediaFile, error)
}

// Paths of content, below /v1.
const (
	pathUpload  = "PUT /v1/media_files/{id}/content"
	pathObjects = "GET /v1/objects/{key...}"
)

var (
	forConfigWrite = right{brain.ScopeConfigWrite, brain.ScopePlatform}
	forContent     = right{brain.ScopeCallsRead, brain.ScopePlatform}
)

// RegisterContent puts the upload of media files, and the reading of an account's objects, on a mux.
func (s *Server) RegisterContent(mux Mux, c Content) {
	upload := s.gate(http.MethodPut, forConfigWrite, func(r *http.Request, key brain.APIKey) (any, error) {
		id, err := s.account(r, key)
		if err != nil {
			return nil, err
		}
		file, err := c.Accept(r.Context(), key.ID, id, r.PathValue("id"), r.Body)
		if err != nil {
			return nil, mediaFault(err)
		}
		return file, nil
	})
	mux.HandleFunc(pathUpload, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w) // without deadlines it needs none
		_ = control.SetReadDeadline(time.Now().Add(transferTime))
		_ = control.SetWriteDeadline(time.Now().Add(transferTime))
		upload.ServeHTTP(w, r)
	})
	mux.HandleFunc(pathObjects, func(w http.ResponseWriter, r *http.Request) {
		defer s.survive(w, r)
		if err := s.object(w, r, c); err != nil {
			s.refuse(w, r, mediaFault(err))
		}
	})
}

// object answers with a message, a recording or a sound of the account that the key is of.
func (s *Server) object(w http.ResponseWriter, r *http.Request, c Content) error {
	key, err := s.admit(r, forContent)
	if err != nil {
		return err
	}
	id, err := s.account(r, key)
	if err != nil {
		return err
	}
	name := r.PathValue("key")
	if !strings.HasPrefix(name, id+"/") {
		return brain.Errorf(brain.ENotFound, "the account has no object %s", quote(name))
	}
	body, ref, err := c.Get(r.Context(), name)
	if err != nil {
		return err
	}
	defer body.Close()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(transferTime)) // a writer without deadlines needs none
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set(api.HeaderSHA256, ref.SHA256)
	http.ServeContent(w, r, "", time.Time{}, body)
	return nil
}
