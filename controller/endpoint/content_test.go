package endpoint

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// desk is a shelf that takes sounds for one media file.
type desk struct {
	*shelf
	took string // ACCOUNT MEDIA CONTENT
}

func (d *desk) Accept(_ context.Context, actor, accountID, mediaID string, r io.Reader) (*brain.MediaFile, error) {
	content, err := io.ReadAll(r)
	switch {
	case err != nil:
		return nil, err
	case mediaID != "media_1":
		return nil, brain.Errorf(brain.ENotFound, "no media file %s", mediaID)
	case string(content) == "mp3":
		return nil, brain.Errorf(brain.EInvalid, "no WAV file")
	}
	d.took = actor + " " + accountID + " " + mediaID + " " + string(content)
	return &brain.MediaFile{ID: mediaID, AccountID: accountID, Bytes: len(content)}, nil
}

const (
	tokenOther  = "sk_other"  // calls:read of acc_2
	tokenEditor = "sk_editor" // config:write of acc_1
)

func newDesk(t *testing.T) (*bench, *desk) {
	keys[tokenOther] = brain.APIKey{ID: "key_8", AccountID: "acc_2", Scopes: []brain.Scope{brain.ScopeCallsRead}}
	keys[tokenEditor] = brain.APIKey{ID: "key_9", AccountID: "acc_1", Scopes: []brain.Scope{brain.ScopeConfigWrite}}
	t.Cleanup(func() { delete(keys, tokenOther); delete(keys, tokenEditor) })
	b := newBench(t)
	d := &desk{shelf: &shelf{objects: map[string]string{"acc_1/rec/d/c.wav": "0123456789", "acc_2/rec/d/c.wav": "theirs", "system/moh/default.wav": "music"}}}
	b.RegisterContent(b.mux, d)
	return b, d
}

func TestContent_RecordingsAreTheirAccountsAlone(t *testing.T) {
	// Proves who reads an object: a key of its account, and one of the platform that names the account. To another account
	// it does not exist, and to say that it asks for the right one does not help; without the right to read calls nothing is read.
	b, _ := newDesk(t)
	const object = "/v1/objects/acc_1/rec/d/c.wav"
	for _, c := range []struct {
		path, token string
		status      int
	}{
		{object, tokenAccount, 200},
		{object + "?account_id=acc_1", tokenAccount, 200},
		{object + "?account_id=acc_1", tokenPlatform, 200},
		{object, tokenOther, 404},
		{object + "?account_id=acc_1", tokenOther, 403},
		{object, tokenEditor, 403},
		{object, tokenNode, 403},
		{object, "", 401},
		{"/v1/objects/acc_1/rec/d/none.wav", tokenAccount, 404},
		{"/v1/objects/acc_2/rec/d/c.wav", tokenAccount, 404},
		{"/v1/objects/system/moh/default.wav", tokenAccount, 404},
		{"/v1/objects/acc_1/..%2Facc_2/rec/d/c.wav", tokenAccount, 400},
	} {
		w := b.ask("GET", c.path, "", "", withToken(c.token))
		if w.Code != c.status || (w.Code == 200) != (w.Body.String() == "0123456789") || strings.Contains(w.Body.String(), "theirs") {
			t.Errorf("%s with %q: %d %s, want %d", c.path, c.token, w.Code, w.Body, c.status)
		}
	}
	w := b.ask("GET", object, "", "", withToken(tokenAccount), withHeader("Range", "bytes=2-4"))
	if w.Code != http.StatusPartialContent || w.Body.String() != "234" || w.Header().Get(api.HeaderSHA256) != sumOf("0123456789") || w.Header().Get("Content-Type") != mediaType {
		t.Errorf("a part: %d %q %v", w.Code, w.Body, w.Header())
	}
	if strings.Contains(b.log.String(), "endpoint failed") {
		t.Errorf("logged as a fault:\n%s", b.log)
	}
}

func TestContent_UploadsReachTheirMediaFile(t *testing.T) {
	// Proves that a sound arrives whole with who brought it, and that a bad file, an unknown media file and a key without
	// the right are refused, each with its status.
	b, d := newDesk(t)
	for _, c := range []struct {
		path, token, body string
		status            int
	}{
		{"/v1/media_files/media_1/content", tokenEditor, "wav", 200},
		{"/v1/media_files/media_2/content", tokenEditor, "wav", 404},
		{"/v1/media_files/media_1/content", tokenEditor, "mp3", 400},
		{"/v1/media_files/media_1/content", tokenAccount, "wav", 403},
		{"/v1/media_files/media_1/content", "", "wav", 401},
	} {
		d.took = ""
		w := b.ask("PUT", c.path, "audio/wav", c.body, withToken(c.token))
		if w.Code != c.status || (w.Code == 200) != (d.took == "key_9 acc_1 media_1 wav") {
			t.Errorf("%s %q: %d %s, took %q", c.path, c.body, w.Code, w.Body, d.took)
		}
	}
}
