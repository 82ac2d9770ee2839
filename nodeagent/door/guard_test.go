package door

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestGuard_HandsLinesOnWithinItsBound(t *testing.T) {
	// Proves that what Kamailio's guard posts is handed on as it is, that a post that is none or too long is refused, and that a node
	// without a guard says so.
	var got string
	take := func(c *Config) {
		c.Guard = func(lines []byte) error {
			if !strings.HasPrefix(string(lines), "node=") {
				return errors.New("no node")
			}
			got = string(lines)
			return nil
		}
	}
	addr, _ := serveDoor(t, take, "http://127.0.0.1:1")
	none, _ := serveDoor(t, nil, "http://127.0.0.1:1")
	post := func(addr, body string) string {
		return talk(t, addr, fmt.Sprintf("POST /guard HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	}
	const body = "node=a\ntype=known&addr=192.0.2.7\n"
	if said := post(addr, body); !strings.HasPrefix(said, "HTTP/1.1 200") || got != body {
		t.Errorf("said %q, handed on %q", said, got)
	}
	for want, said := range map[string]string{
		"400": post(addr, "type=known"), "413": talk(t, addr, "POST /guard HTTP/1.1\r\nContent-Length: 300000\r\n\r\n"), "404": post(none, body),
	} {
		if !strings.HasPrefix(said, "HTTP/1.1 "+want) {
			t.Errorf("said %q, want %s", said, want)
		}
	}
}
