package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

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
	var asked atomic.Int32
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
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
		reply, err := r.Flow(t.Context(), api.FlowRequest{})
		if err != nil || reply.Command != api.CommandPlay || asked.Load() != 1 {
			t.Errorf("try %d: %+v %v; the silent one was asked %d times", try, reply, err, asked.Load())
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

// TestDesk_AnswersAndRefusals proves where claims, confirms and misses go and what is read of the answers, that a
// reservation which all brains refuse for good is one that they do not know, and that any other failure is an error, after which
// the same is asked again.
func TestDesk_AnswersAndRefusals(t *testing.T) {
	status, seen := http.StatusOK, ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = r.URL.Path + " " + string(body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"granted":true}`)
	}))
	defer srv.Close()
	r := newReporter([]string{srv.URL}, "key", nil)
	c := api.Claim{AccountID: "a", ReservationID: "r1", Fence: 7}
	for path, ask := range map[string]func(context.Context, api.Claim) (api.ClaimReply, error){"claim": r.Claim, "confirm": r.Confirm, "miss": r.Miss} {
		reply, err := ask(t.Context(), c)
		if err != nil || !reply.Granted || seen != "/agent/"+path+` {"account_id":"a","reservation_id":"r1","fence":7}` {
			t.Errorf("%s: %+v %v, sent %s", path, reply, err, seen)
		}
	}
	for code, unknown := range map[int]bool{400: true, 403: true, 404: true, 401: false, 500: false, 503: false} {
		status = code
		if reply, err := r.Claim(t.Context(), c); unknown != (err == nil) || reply.Granted || unknown && reply.Why != "unknown" {
			t.Errorf("%d: %+v %v", code, reply, err)
		}
	}
}

// TestFromHere_IsAnAddressToConnectTo proves that FreeSWITCH is told an address of this machine, wherever the agent listens.
func TestFromHere_IsAnAddressToConnectTo(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:8484": "127.0.0.1:8484", ":8484": "127.0.0.1:8484", "0.0.0.0:8484": "127.0.0.1:8484", "[::]:8484": "127.0.0.1:8484", "10.0.0.7:1": "10.0.0.7:1"} {
		if got := fromHere(listen); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
}
