package controller

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/controller/secret"
)

func TestSecrets_OfNodes(t *testing.T) {
	// Proves that orders go to a node with its own token and what its tunnel wants, to others with the key of all; that both survive a
	// rotation, which counts them; and that one whose key is gone is told and sends no order under another key.
	store, log := newStore(t), &safeBuffer{}
	s, err := openSecrets(t.Context(), Config{DataDir: t.TempDir()}, store, textLog(log))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*brain.Node{
		{Name: "own", AgentURL: "http://127.0.0.1:1", Weight: 100, AgentToken: "canary-token-of-one"},
		{Name: "plain", AgentURL: "http://127.0.0.1:1", Weight: 100},
		{Name: "far", AgentURL: "https://x.test", Reach: brain.ReachCloudflared, Weight: 100, AgentToken: "canary-token-of-far", AccessClientID: "id.access", AccessClientSecret: "canary-access-secret"},
	} {
		if _, err := store.Change(t.Context(), "t", brain.Change{Op: brain.OpCreate, Resource: n}); err != nil {
			t.Fatal(err)
		}
	}
	var heard http.Header
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard = r.Header.Clone()
		_, _ = w.Write([]byte(`{"id":"1","ok":true}`))
	}))
	defer srv.Close()
	ops := &node.Ops{Key: "key-of-all-nodes", Secrets: s.ofNode, Client: srv.Client()}
	check := func(when string) {
		for name, want := range map[string][3]string{"own": {"canary-token-of-one", "", ""}, "plain": {"key-of-all-nodes", "", ""}, "far": {"canary-token-of-far", "id.access", "canary-access-secret"}} {
			n := *store.Directory().NodeByName(name)
			n.AgentURL, heard = srv.URL, nil
			if _, err := ops.Push(t.Context(), &n, api.Op{ID: "1", Kind: "x"}); err != nil {
				t.Fatalf("%s, %s: %v", when, name, err)
			}
			if got := [3]string{strings.TrimPrefix(heard.Get("Authorization"), "Bearer "), heard.Get(api.HeaderAccessID), heard.Get(api.HeaderAccessSecret)}; got != want {
				t.Errorf("%s, %s: %q, want %q", when, name, got, want)
			}
		}
	}
	check("at first")
	first := s.box.KeyID()
	id, err := secret.AddKey(s.box.Path())
	if err == nil {
		err = secret.UseKey(s.box.Path(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []api.SecretRotation{{Key: id, Resealed: 3}, {Key: id, Already: 3}} {
		if done, err := s.Rotate(t.Context(), "rotation"); err != nil || done.Key != want.Key || done.Resealed != want.Resealed || done.Already != want.Already || done.Failed != 0 {
			t.Fatalf("%+v, %v, want %+v", done, err, want)
		}
	}
	if err := secret.RemoveKey(s.box.Path(), first); err != nil {
		t.Fatal(err)
	}
	check("after the rotation")
	if err := os.Remove(s.box.Path()); err != nil {
		t.Fatal(err)
	}
	other, err := openSecrets(t.Context(), Config{DataDir: t.TempDir()}, store, textLog(log))
	if err != nil {
		t.Fatal(err)
	}
	ops.Secrets, heard = other.ofNode, nil
	far := store.Directory().NodeByName("far")
	if _, err := ops.Push(t.Context(), far, api.Op{ID: "1", Kind: "x"}); brain.CodeOf(err) != brain.EUnavailable || heard != nil {
		t.Errorf("an order left without the node's secrets: %v", err)
	}
	if said := log.String(); !strings.Contains(said, "node far/agent_token") || strings.Contains(said, "canary") {
		t.Errorf("told: %s", said)
	}
}
