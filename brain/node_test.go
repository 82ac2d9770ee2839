package brain

import "testing"

func TestOnThisMachine(t *testing.T) {
	// Proves that only addresses that cannot be another machine's count as this one, whatever a URL is made to look like.
	for url, want := range map[string]bool{
		"http://127.0.0.1:8481": true, "http://127.9.9.9": true, "http://[::1]:8481/": true, "http://localhost:1": true, "https://127.0.0.1": true,
		"http://192.0.2.1:8481": false, "http://127.0.0.1.example.com": false, "http://localhost.example.com": false, "http://127.0.0.1@192.0.2.1": false,
		"http://127.0.0.1:x@192.0.2.1/": false, "http://127.0.0": false, "http://127.0.0.x": false, "http://[2001:db8::1]": false, "http://": false, "": false,
		"http://0127.0.0.1": false, "http://127.0.0.1111": false,
	} {
		if got := OnThisMachine(url); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
}

func TestValidate_KeysThatSpeakForOneNode(t *testing.T) {
	// Proves that a key is bound to a node only as a key of the platform with the scope node and no other, and by a name that a node can have.
	hash := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, row := range map[string]struct {
		key  APIKey
		good bool
	}{
		"bound":         {APIKey{Scopes: []Scope{ScopeNode}, Node: "edge-1"}, true},
		"free":          {APIKey{Scopes: []Scope{ScopeNode}}, true},
		"more scopes":   {APIKey{Scopes: []Scope{ScopeNode, ScopePlatform}, Node: "edge-1"}, false},
		"another scope": {APIKey{Scopes: []Scope{ScopePlatform}, Node: "edge-1"}, false},
		"an account's":  {APIKey{AccountID: "acc_1", Scopes: []Scope{ScopeCallsRead}, Node: "edge-1"}, false},
		"no name":       {APIKey{Scopes: []Scope{ScopeNode}, Node: "a b"}, false},
	} {
		row.key.ID, row.key.Name, row.key.Hash = "key_1", "k", hash
		if faults := Validate(&row.key); (len(faults) == 0) != row.good {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestValidate_NodesOnTheBus(t *testing.T) {
	// Proves that a node that keeps a connection needs no address and takes orders, and that its name can be part of a subject.
	for name, good := range map[string]bool{"edge-1": true, "edge.1": true, ".edge": false, "edge.": false, "a..b": false, "a.*": false, ">": false} {
		n := &Node{ID: "node_1", Name: name, Reach: ReachBus, State: "active"}
		if faults := Validate(n); (len(faults) == 0) != good || !n.TakesOrders() {
			t.Errorf("%s: %v", name, faults)
		}
	}
	if n := (&Node{Reach: ReachDirect}); n.TakesOrders() {
		t.Error("a node without an address takes orders")
	}
}
