package nodeagent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/sipio/sipio/nodeagent/kam"
)

// trunks keeps the file from which Kamailio knows the addresses of trunks (module permissions, address_file, group 1).
// While no brain answers the file stays as it is.
type trunks struct {
	path     string
	kamailio *kam.Client
	log      *slog.Logger

	kept   []string // as Kamailio has them
	failed bool     // the last try, so that one fault is logged once
}

// keep writes the addresses when they have changed and has Kamailio read them. nil changes nothing.
func (t *trunks) keep(ctx context.Context, sources []string) {
	if t.path == "" || sources == nil || t.kept != nil && slices.Equal(t.kept, sources) {
		return
	}
	err := t.write(sources)
	if err == nil {
		err = t.kamailio.Call(ctx, "permissions.addressReload", nil, nil)
	}
	if err != nil && !t.failed {
		t.log.Error("Kamailio does not know the addresses of the trunks", "file", t.path, "error", err)
	}
	if t.failed = err != nil; !t.failed {
		t.kept = slices.Clone(sources)
		t.log.Info("Kamailio knows the addresses of the trunks", "count", len(sources))
	}
}

// write replaces the file in one step.
func (t *trunks) write(sources []string) error {
	var b strings.Builder
	b.WriteString("# Written by sipio-node: addresses of trunks.\n")
	for _, s := range sources {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("address of a trunk: %w", err)
		}
		fmt.Fprintf(&b, "1 %s", p.Addr())
		if !p.IsSingleIP() {
			fmt.Fprintf(&b, " %d", p.Bits())
		}
		b.WriteByte('\n')
	}
	if err := os.WriteFile(t.path+".new", []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(t.path+".new", t.path)
}
