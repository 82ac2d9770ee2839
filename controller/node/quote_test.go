package node

import (
	"net/http"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves that an error quotes what a node says, but nothing that repeats a token, whole, escaped or cut off.
func TestQuotable_RepeatsNoToken(t *testing.T) {
	head := http.Header{"Authorization": {"Bearer token&of&edge-1"}}
	head.Set(api.HeaderAccessSecret, "access-secret-1")
	for text, shown := range map[string]bool{
		"": true, "the order was sent 2m0s ago": true, "Bearer token": true, "no access to edge-1": true,
		"Authorization: Bearer token&of&edge-1": false, `{"a":"access\u002dsecret-1"}`: false, `{"a":"…of&edge-1"}`: false,
		"Cf-Access-Client-Secret: access-secret-1": false, "s-secret": false,
	} {
		if got := string(quotable([]byte(text), head)); (got == text) != shown {
			t.Errorf("%q is quoted as %q", text, got)
		}
	}
}
