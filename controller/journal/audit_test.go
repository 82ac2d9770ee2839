package journal

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that the audit log has what was appended, in order and from any number on, after a restart too, that it drops the oldest
// beyond its bound and is read on from there, and that it refuses what is too long.
func TestAuditLog_KeepsTheNewestInOrder(t *testing.T) {
	dir := t.TempDir()
	b := openSolo(t, dir)
	open := func(b *Bus) *AuditLog {
		t.Helper()
		a, err := b.AuditLog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	read := func(a *AuditLog, after int64) (got []string) {
		t.Helper()
		err := a.Read(t.Context(), after, func(seq int64, data []byte) error {
			got = append(got, fmt.Sprintf("%d:%s", seq, data))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	a := open(b)
	if last, err := a.Last(t.Context()); err != nil || last != 0 || len(read(a, 0)) != 0 {
		t.Fatalf("an empty log ends at %d, %v", last, err)
	}
	var want []string
	for i := range 2*shortRead + 3 {
		if err := a.Append(t.Context(), fmt.Appendf(nil, "e%d", i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%d:e%d", i+1, i))
	}
	if err := a.Append(t.Context(), []byte(strings.Repeat("x", MaxAuditMessage+1))); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("a message that is too long: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openSolo(t, dir)
	a = open(b)
	for _, after := range []int{0, 1, shortRead, len(want) - 1, len(want), len(want) + 5} {
		if got := read(a, int64(after)); !slices.Equal(got, want[min(after, len(want)):]) {
			t.Errorf("behind %d: %v", after, got)
		}
	}
	cfg := b.streamConfig(auditStream) // the bound itself is too many messages for a test
	cfg.Subjects, cfg.MaxMsgs, cfg.Discard, cfg.MaxMsgSize = a.line.stream.CachedInfo().Config.Subjects, 5, a.line.stream.CachedInfo().Config.Discard, MaxAuditMessage
	if a.line.stream.CachedInfo().Config.MaxMsgs != maxAuditMessages {
		t.Errorf("the stream has the bound %d", a.line.stream.CachedInfo().Config.MaxMsgs)
	}
	if _, err := b.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := a.Append(t.Context(), []byte("newest")); err != nil {
		t.Fatal(err)
	}
	want = append(want, fmt.Sprintf("%d:newest", len(want)+1))
	for _, after := range []int64{0, 3, int64(len(want)) - 2} {
		if got := read(a, after); !slices.Equal(got, want[max(int(after), len(want)-5):]) {
			t.Errorf("behind %d of a log that dropped some: %v", after, got)
		}
	}
}
