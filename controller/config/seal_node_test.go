package config

import (
	"context"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a node's token and access secret are sealed for that node and kept nowhere else, that an apply or an update that says
// nothing of them keeps them (also under another name), that giving one once more changes nothing and none takes it away, and
// that neither plan, export, listing nor the history tells one.
func TestNodes_KeepTheirSecrets(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	apply := func(doc string) string { return mustApply(t, s, []byte(doc), brain.ApplyOptions{}).String() }
	kept := func() *brain.Node {
		for _, r := range s.state.Load().tenants[""].rows[brain.KindNode] {
			if n := r.(*brain.Node); n.AccessClientID == "id.access" {
				return n
			}
		}
		t.Fatal("the node is not there")
		return nil
	}
	opened := func() (token, secret string) {
		n := kept()
		for i, one := range n.Secrets() {
			if *one.Given != "" {
				t.Errorf("%s is kept as it was given", one.Field)
			}
			if *one.Sealed == "" {
				continue
			}
			value, err := s.Secrets.Open("", n.SealedAs(one), *one.Sealed)
			if err != nil {
				t.Fatal(err)
			}
			*[]*string{&token, &secret}[i] = string(value)
		}
		return token, secret
	}
	const plain = `agent_url: "https://edge-7.example.com", reach: cloudflared, access_client_id: id.access`
	const with = `{kind: node, name: edge-7, spec: {` + plain + `, agent_token: canary-token-4711, access_client_secret: canary-secret-4711}}`
	told := apply(with)
	if token, secret := opened(); token != "canary-token-4711" || secret != "canary-secret-4711" {
		t.Fatalf("kept as %q, %q", token, secret)
	}
	first := *kept()
	for _, doc := range []string{with, `{kind: node, name: edge-7, spec: {` + plain + `}}`} {
		if plan := apply(doc); plan != "no changes\n" {
			t.Errorf("%s: %s", doc, plan)
		}
	}
	update := &brain.Node{ID: first.ID, Name: "edge-8", AgentURL: first.AgentURL, Reach: first.Reach, AccessClientID: first.AccessClientID, Weight: 100}
	mustChange(t, s, brain.OpUpdate, update)
	if token, secret := opened(); token != "canary-token-4711" || secret != "canary-secret-4711" {
		t.Errorf("under another name: %q, %q", token, secret)
	}
	told += apply(`{kind: node, name: edge-8, spec: {` + plain + `, agent_token: canary-token-0815}}`)
	if token, secret := opened(); token != "canary-token-0815" || secret != "canary-secret-4711" || !strings.Contains(told, "agent_token: (secret) → (changed)") {
		t.Errorf("another token: %q, %q\n%s", token, secret, told)
	}
	if _, _, err := s.Rollback(ctx, "test", 2, false); err != nil {
		t.Fatal(err)
	}
	told += apply(`{kind: node, name: ` + kept().Name + `, spec: {` + plain + `, agent_token: none}}`)
	if token, secret := opened(); token != "" || secret != "canary-secret-4711" {
		t.Errorf("after a rollback, and the token taken away: %q, %q", token, secret)
	}
	export, err := s.Export(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	revisions, err := s.Revisions(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	told += string(export)
	for _, r := range revisions {
		told += r.Summary
	}
	shown := brain.Redact(kept()).(*brain.Node)
	if strings.Contains(told, "canary") || strings.Contains(told, "sealed") || shown.AccessSecretSealed != "" || kept().AccessSecretSealed == "" {
		t.Errorf("told: %s\nshown: %+v", told, shown)
	}
	if directory, faults := FromYAML(export); directory == nil {
		t.Errorf("the export cannot be tried offline: %v", faults)
	}
}

// Proves that a node's secrets are held to their form, that both forms of one are a mistake, that what was sealed for another
// node is refused, and that the reach wants what it needs.
func TestNodes_RefuseBadSecrets(t *testing.T) {
	s := acmeStore(t)
	mustApply(t, s, []byte(`{kind: node, name: other, spec: {agent_token: canary-token-4711}}`), brain.ApplyOptions{})
	var other string
	for _, r := range s.state.Load().tenants[""].rows[brain.KindNode] {
		if n := r.(*brain.Node); n.Name == "other" {
			other = n.AgentTokenSealed
		}
	}
	for spec, want := range map[string]string{
		`agent_token: short`:                                              "16 to 256",
		`agent_token: "has a space in the midst"`:                         "16 to 256",
		`agent_token: "header\r\nInjected: x-x-x"`:                        "16 to 256",
		`agent_token_sealed: ` + other:                                    "was not sealed for this node",
		`agent_token: none, agent_token_sealed: AA`:                       "either the value or",
		`reach: cloudflared`:                                              "https address of the tunnel",
		`reach: cloudflared, agent_url: "https://x", access_client_id: i`: "is required with reach cloudflared",
		`reach: boat`:                                  "reach",
		`agent_url: "http://192.0.2.1:8481"`:           "must begin with https",
		`agent_url: "http://127.0.0.1@192.0.2.1:8481"`: "must begin with https",
		`access_client_id: "a b"`:                      "access_client_id",
	} {
		_, _, err := s.Apply(context.Background(), "test", []byte(`{kind: node, name: bad, spec: {`+spec+`}}`), brain.ApplyOptions{})
		if brain.CodeOf(err) != brain.EInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the mistake tells a secret: %v", err)
		}
	}
	mustApply(t, s, []byte(`{kind: node, name: good, spec: {reach: direct}}`), brain.ApplyOptions{})
}
