package nodeagent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
)

// addressBook is a Kamailio that counts how often it was told to read the addresses again, and refuses when it is to.
type addressBook struct {
	reloads atomic.Int64
	refuses atomic.Bool
}

// startAddressBook listens in dir.
func startAddressBook(t *testing.T, dir string) (*addressBook, string) {
	t.Helper()
	b, path := &addressBook{}, filepath.Join(dir, "kamailio")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for buf := make([]byte, 4096); ; {
			n, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			var req struct {
				Method string `json:"method"`
				ID     int64  `json:"id"`
			}
			if json.Unmarshal(buf[:n], &req) != nil || req.Method != "permissions.addressReload" {
				continue
			}
			b.reloads.Add(1)
			answer := fmt.Sprintf(`{"jsonrpc":"2.0","result":"","id":%d}`, req.ID)
			if b.refuses.Load() {
				answer = fmt.Sprintf(`{"jsonrpc":"2.0","error":{"code":500,"message":"ongoing reload"},"id":%d}`, req.ID)
			}
			_, _ = conn.WriteToUnix([]byte(answer), from)
		}
	}()
	return b, path
}

// keeper is a trunks with a Kamailio and the log it writes.
func keeper(t *testing.T) (*trunks, *addressBook, *bytes.Buffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "trunks") // short enough for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	book, server := startAddressBook(t, dir)
	client, err := kam.Open(server, filepath.Join(dir, "agent"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	log := &bytes.Buffer{}
	return &trunks{path: filepath.Join(dir, "trunks"), kamailio: client, log: slog.New(slog.NewTextHandler(log, nil))}, book, log
}

// content is the file's lines without comments.
func (t *trunks) content(tb testing.TB) []string {
	tb.Helper()
	raw, err := os.ReadFile(t.path)
	if err != nil {
		tb.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#") })
}

// Proves that Kamailio's file has an address, a network and an IPv6 one as the permissions module reads them, that it
// is told once for each change and not for the same list, and that a brain which says nothing changes nothing while
// one that names no trunk empties the file.
func TestTrunks_AreWrittenAndReadOnceForEachChange(t *testing.T) {
	k, book, _ := keeper(t)
	for i, c := range []struct {
		sources []string
		want    []string
		reloads int64
	}{
		{[]string{"198.51.100.7/32", "2001:db8::1/128", "2001:db8:1::/48", "203.0.113.0/24"}, []string{"1 198.51.100.7", "1 2001:db8::1", "1 2001:db8:1:: 48", "1 203.0.113.0 24"}, 1},
		{[]string{"198.51.100.7/32", "2001:db8::1/128", "2001:db8:1::/48", "203.0.113.0/24"}, []string{"1 198.51.100.7", "1 2001:db8::1", "1 2001:db8:1:: 48", "1 203.0.113.0 24"}, 1},
		{nil, []string{"1 198.51.100.7", "1 2001:db8::1", "1 2001:db8:1:: 48", "1 203.0.113.0 24"}, 1},
		{[]string{"198.51.100.8/32"}, []string{"1 198.51.100.8"}, 2},
		{[]string{}, nil, 3},
		{[]string{}, nil, 3},
	} {
		k.keep(t.Context(), c.sources)
		if got := k.content(t); !slices.Equal(got, c.want) || book.reloads.Load() != c.reloads {
			t.Errorf("%d: %q after %d reloads, want %q after %d", i, got, book.reloads.Load(), c.want, c.reloads)
		}
	}
	if left, _ := filepath.Glob(k.path + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Proves that a list which Kamailio would not read is tried again with the next heartbeat, though it is the same, and
// that the fault is logged once; a node agent without a file does nothing.
func TestTrunks_AreTriedAgainAfterAFault(t *testing.T) {
	k, book, log := keeper(t)
	book.refuses.Store(true)
	for range 3 {
		k.keep(t.Context(), []string{"198.51.100.7/32"})
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || book.reloads.Load() != 3 {
		t.Errorf("%d errors after %d reloads\n%s", n, book.reloads.Load(), log)
	}
	book.refuses.Store(false)
	k.keep(t.Context(), []string{"198.51.100.7/32"})
	k.keep(t.Context(), []string{"198.51.100.7/32"})
	if book.reloads.Load() != 4 || !strings.Contains(log.String(), "level=INFO") {
		t.Errorf("%d reloads\n%s", book.reloads.Load(), log)
	}
	none := &trunks{kamailio: k.kamailio, log: k.log}
	none.keep(t.Context(), []string{"198.51.100.9/32"})
	if book.reloads.Load() != 4 {
		t.Error("Kamailio was told though there is no file")
	}
}

// Proves that a list with something that is no network leaves the file as it was: nothing of it reaches Kamailio.
func TestTrunks_ABrokenListChangesNothing(t *testing.T) {
	k, book, log := keeper(t)
	k.keep(t.Context(), []string{"198.51.100.7/32"})
	for _, bad := range []string{"", "198.51.100.9", "198.51.100.9/33", "1.2.3.4/32\n1 0.0.0.0 0", "everybody"} {
		k.keep(t.Context(), []string{"198.51.100.8/32", bad})
	}
	if got := k.content(t); !slices.Equal(got, []string{"1 198.51.100.7"}) || book.reloads.Load() != 1 || strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("%q after %d reloads\n%s", got, book.reloads.Load(), log)
	}
}

// Proves that more networks than Kamailio has room for leave the file as it was, with an error that says so, once; that single addresses
// take no room there; and that its configuration has the room.
func TestTrunks_MoreNetworksThanKamailioHoldsAreRefused(t *testing.T) {
	k, book, log := keeper(t)
	var nets []string
	for i := range maxSubnets {
		nets = append(nets, fmt.Sprintf("10.%d.%d.%d/30", i>>14&255, i>>6&255, i<<2&255))
	}
	k.keep(t.Context(), nets[:10])
	if err := k.protect(t.Context(), append(nets[:maxSubnets-9:maxSubnets-9], "198.51.100.7/32")); err == nil {
		t.Error("a network too many is no error")
	}
	k.keep(t.Context(), nil)
	if got := k.content(t); len(got) != 10 || book.reloads.Load() != 1 || strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), "32769 networks") {
		t.Errorf("%d lines after %d reloads\n%s", len(got), book.reloads.Load(), log)
	}
	if err := k.protect(t.Context(), append(nets[:maxSubnets-10:maxSubnets-10], "198.51.100.7/32")); err != nil || len(k.content(t)) != maxSubnets+1 {
		t.Errorf("as many as it holds: %v", err)
	}
	cfg, err := os.ReadFile("../kamailio-cfg/kamailio.cfg")
	if err != nil || !strings.Contains(string(cfg), fmt.Sprintf(`modparam("permissions", "max_subnets", %d)`, maxSubnets)) {
		t.Errorf("max_subnets is not %d: %v", maxSubnets, err)
	}
}

// Proves that a Kamailio which is not up is no fault of the addresses: it is told as a warning, and as an error when it is up and refuses.
func TestTrunks_AKamailioThatIsNotUpIsNoFault(t *testing.T) {
	k, book, log := keeper(t)
	up := false
	k.up = func() bool { return up }
	book.refuses.Store(true)
	for range 2 {
		k.keep(t.Context(), []string{"198.51.100.7/32"})
	}
	if strings.Contains(log.String(), "level=ERROR") || strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("not up:\n%s", log)
	}
	up = true
	for range 2 {
		k.keep(t.Context(), []string{"198.51.100.7/32"})
	}
	if strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("up:\n%s", log)
	}
}
