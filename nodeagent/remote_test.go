package nodeagent

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/media"
)

// TestFlow_BrainThatKnowsNoSuchCallEndsIt proves that an answer which will never change is a hangup for the call, and
// that any other failure is an error, after which the same question is asked again.
func TestFlow_BrainThatKnowsNoSuchCallEndsIt(t *testing.T) {
	for status, ends := range map[int]bool{400: true, 403: true, 404: true, 401: false, 500: false, 503: false} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }))
		reply, err := newReporter([]string{srv.URL}, "key", nil).Flow(t.Context(), api.FlowRequest{Seq: 7})
		srv.Close()
		if ends && (err != nil || reply.Command != api.CommandHangup || reply.Seq != 7) || !ends && err == nil {
			t.Errorf("%d: %+v %v", status, reply, err)
		}
	}
}

// TestMedia_GoesToTheBrainThatAnswers proves that objects are got and stored with key and sum, at the second brain when
// the first has a fault, and that a refusal for good says so.
func TestMedia_GoesToTheBrainThatAnswers(t *testing.T) {
	var stored string
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.URL.Path, api.PathMedia)
		switch {
		case r.Header.Get("Authorization") != "Bearer key":
			http.Error(w, "who?", http.StatusUnauthorized)
		case r.Method == http.MethodPut:
			body, _ := io.ReadAll(r.Body)
			stored = key + " " + string(body) + " " + r.Header.Get(api.HeaderSHA256)
			_ = json.NewEncoder(w).Encode(api.MediaRef{Key: key})
		case key == "acc/media/a b.wav":
			w.Header().Set(api.HeaderSHA256, "sum")
			_, _ = io.WriteString(w, "sound")
		default:
			http.Error(w, "none", http.StatusNotFound)
		}
	}))
	defer good.Close()
	faulty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "ill", http.StatusInternalServerError)
	}))
	defer faulty.Close()
	t.Run("behind one that refuses connections", func(t *testing.T) {
		r := newReporter([]string{"http://127.0.0.1:1", good.URL}, "key", nil)
		if err := r.Put(t.Context(), "acc/rec/y.wav", strings.NewReader("voice"), 5, "its-sum"); err != nil || stored != "acc/rec/y.wav voice its-sum" {
			t.Errorf("%v, stored %q", err, stored)
		}
	})
	r := newReporter([]string{faulty.URL, good.URL}, "key", nil)
	body, ref, err := r.Get(t.Context(), "acc/media/a b.wav")
	if err != nil || ref.SHA256 != "sum" || ref.Bytes != 5 {
		t.Fatalf("%+v %v", ref, err)
	}
	if text, err := io.ReadAll(body); string(text) != "sound" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	if _, _, err := r.Get(t.Context(), "acc/media/none.wav"); !errors.Is(err, media.ErrRefused) {
		t.Errorf("an object that is not there: %v", err)
	}
	if err := r.Put(t.Context(), "acc/rec/x.wav", strings.NewReader("voice"), 5, "its-sum"); err != nil || stored != "acc/rec/x.wav voice its-sum" {
		t.Errorf("%v, stored %q", err, stored)
	}
}

// TestFlow_SilentBrainLeavesTimeForTheOther proves that a brain which takes a question and says nothing keeps nobody
// from asking the next, and that the one that answered is asked first from then on.
func TestFlow_SilentBrainLeavesTimeForTheOther(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the asker go
		<-r.Context().Done()
	}))
	defer silent.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.FlowReply{Seq: 1, Command: api.CommandPlay})
	}))
	defer good.Close()
	r := newReporter([]string{silent.URL, good.URL}, "key", nil)
	for try := range 2 {
		began := time.Now()
		reply, err := r.Flow(t.Context(), api.FlowRequest{})
		if err != nil || reply.Command != api.CommandPlay || try == 1 && time.Since(began) > shareTimeout {
			t.Errorf("try %d: %+v %v after %v", try, reply, err, time.Since(began))
		}
	}
}

// TestFlow_OneBrainsRefusalIsNotAll proves that a brain which says 403 or 404 ends no call while another, which may know
// better, does not answer.
func TestFlow_OneBrainsRefusalIsNotAll(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer refuses.Close()
	if reply, err := newReporter([]string{refuses.URL, "http://127.0.0.1:1"}, "key", nil).Flow(t.Context(), api.FlowRequest{}); err == nil {
		t.Errorf("%+v", reply)
	}
	if reply, err := newReporter([]string{refuses.URL, refuses.URL}, "key", nil).Flow(t.Context(), api.FlowRequest{}); err != nil || reply.Command != api.CommandHangup {
		t.Errorf("refused by both: %+v %v", reply, err)
	}
}
