package brain

import "strings"

// NodeSecret is one secret of a node's row: where it is given, and where what is kept of it stands.
type NodeSecret struct {
	Field         string // in which it is given
	Given, Sealed *string
}

// Secrets are the node's secrets.
func (r *Node) Secrets() []NodeSecret {
	return []NodeSecret{
		{"agent_token", &r.AgentToken, &r.AgentTokenSealed},
		{"access_client_secret", &r.AccessClientSecret, &r.AccessSecretSealed},
	}
}

// SealedAs is the name under which a secret of the node is sealed. It goes by the node's id, so that a node may be renamed.
func (r *Node) SealedAs(s NodeSecret) string { return "node/" + r.ID + "/" + s.Field }

// Redacted is a copy of the node without its secrets: what may be shown or logged.
func (r *Node) Redacted() *Node {
	shown := *r
	for _, s := range shown.Secrets() {
		*s.Given, *s.Sealed = "", ""
	}
	return &shown
}

// NoToken, in the place of a node's secret, takes away the one that is there.
const NoToken = "none"

// Bounds of the secrets of a node.
const (
	minTokenBytes  = 16
	maxTokenBytes  = 256
	maxAccessBytes = 128
)

// CheckToken says what is wrong with a node's secret as somebody gives it, "" when nothing is. NoToken and none at all pass.
func CheckToken(token string) string {
	if token == "" || token == NoToken || len(token) >= minTokenBytes && len(token) <= maxTokenBytes && only(token, isTokenByte) {
		return ""
	}
	return "must be 16 to 256 characters that may stand in a header, without spaces; or none to take it away"
}

func isTokenByte(b byte) bool { return b > ' ' && b < 0x7f }

// reach checks how orders get to a node. In clear they go no farther than this machine: the token that comes with them is worth
// as much as they are.
func (c *checker) reach(r *Node) {
	oneOf(c, "reach", r.Reach, ReachDirect, ReachBus, ReachCloudflared)
	if r.Reach == ReachBus && strings.Contains("."+r.Name+".", "..") {
		c.add("name", "must not begin or end with a dot, nor have two together, with reach bus")
	}
	mistakes := len(c.errs)
	c.url("agent_url", r.AgentURL)
	switch {
	case len(c.errs) > mistakes:
	case r.Reach == ReachCloudflared && !strings.HasPrefix(r.AgentURL, "https://"):
		c.add("agent_url", "must be the https address of the tunnel")
	case strings.HasPrefix(r.AgentURL, "http://") && !OnThisMachine(r.AgentURL):
		c.add("agent_url", "must begin with https, or be http on a loopback address")
	}
	if len(r.AccessClientID) > maxAccessBytes || !only(r.AccessClientID, isTokenByte) {
		c.add("access_client_id", "must be at most %d characters that may stand in a header, without spaces", maxAccessBytes)
	}
	if r.Reach == ReachCloudflared && r.AccessClientID == "" {
		c.add("access_client_id", "is required with reach cloudflared")
	}
	if r.Reach == ReachCloudflared && r.AccessSecretSealed == "" {
		c.add("access_client_secret", "is required with reach cloudflared")
	}
	for _, s := range r.Secrets() {
		c.sealed(s.Field+"_sealed", *s.Sealed)
	}
}

// OnThisMachine tells whether an http or https URL is one of a loopback address, written as such.
func OnThisMachine(url string) bool {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		return false
	}
	if strings.HasPrefix(host, "[") {
		return strings.HasPrefix(host, "[::1]")
	}
	host, _, _ = strings.Cut(host, ":")
	parts := strings.Split(host, ".")
	if len(parts) != 4 || parts[0] != "127" {
		return host == "localhost"
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || !only(p, isDigit) {
			return false
		}
	}
	return true
}

// boundTo checks the node that a key speaks for.
func (c *checker) boundTo(r *APIKey) {
	if r.Node == "" {
		return
	}
	c.username("node", r.Node)
	if len(r.Scopes) != 1 || r.Scopes[0] != ScopeNode {
		c.add("node", "a key that speaks for one node has the scope node and no other")
	}
}
