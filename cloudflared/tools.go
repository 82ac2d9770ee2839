//go:build tools

package cloudflared

// The whole cloudflared, which the end-to-end test builds: named here so that go.sum knows what it needs.
import _ "github.com/cloudflare/cloudflared/cmd/cloudflared"
