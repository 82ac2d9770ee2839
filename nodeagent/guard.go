package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/ban"
	"github.com/sipio/sipio/nodeagent/guard"
	"github.com/sipio/sipio/nodeagent/kam"
)

// maxGuardReply has room for the largest policy and all orders of a reply.
const maxGuardReply = 8 << 20

// newGuard makes the guard of this node, and its table in the kernel when there is to be one. It asks Kamailio through a
// socket of its own: what it puts in after a restart keeps nobody else waiting.
func newGuard(cfg Config, report *reporter, addresses *trunks, log *slog.Logger) (*guard.Guard, func() error, error) {
	client, err := kam.Open(cfg.KamailioSocket, cfg.KamailioClient+".guard", probeTimeout)
	if err != nil {
		return nil, nil, err
	}
	var kernel guard.Kernel
	if cfg.BanTable != "" {
		table, err := ban.Open(cfg.BanTable, cfg.BanPorts, cfg.BanRTPPorts)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("ban-table: %w", err), client.Close())
		}
		kernel = kernelBans{table}
	}
	g := guard.New(guard.Config{
		Node: cfg.Name, File: filepath.Join(cfg.SpoolDir, "guard.json"), Of: ban.Of, KernelTerm: ban.FloodTerm, KnownTerm: ban.KnownTerm, Kernel: kernel, Kamailio: client,
		Protect: addresses.protect, Post: report.postGuard, Log: log,
	})
	return g, client.Close, nil
}

// kernelBans is the table of the kernel as the guard uses it.
type kernelBans struct{ table *ban.Table }

func (k kernelBans) Ban(bans []guard.Ban) error {
	list := make([]ban.Ban, len(bans))
	for i, b := range bans {
		list[i] = ban.Ban(b)
	}
	return k.table.Ban(list...)
}

func (k kernelBans) List() ([]guard.Ban, error) {
	bans, err := k.table.List()
	list := make([]guard.Ban, len(bans))
	for i, b := range bans {
		list[i] = guard.Ban(b)
	}
	return list, err
}

func (k kernelBans) Lift(addr netip.Prefix, grace time.Duration) error {
	return k.table.Lift(addr, grace)
}
func (k kernelBans) Remake() error                     { return k.table.Remake() }
func (k kernelBans) Known(addrs []netip.Prefix) error  { return k.table.Known(addrs...) }
func (k kernelBans) Protect(nets []netip.Prefix) error { return k.table.Protect(nets) }
func (k kernelBans) Caught() ([]netip.Prefix, error)   { return k.table.Caught() }

func (k kernelBans) Connections() (map[netip.Prefix]int, error) { return k.table.Connections() }
func (k kernelBans) Refused() (int64, error)                    { return k.table.Refused() }
func (k kernelBans) Close(excess map[netip.Prefix]int) error    { return k.table.Close(excess) }
func (k kernelBans) Refuse(sources []netip.Prefix, strangers bool) error {
	return k.table.Refuse(sources, strangers)
}

// postGuard tells a brain what the guard has seen. The reply says what it is to do.
func (r *reporter) postGuard(ctx context.Context, told api.GuardReport) (reply api.GuardReply, err error) {
	body, err := json.Marshal(told)
	if err != nil {
		return reply, fmt.Errorf("encode report of the guard: %w", err)
	}
	err = r.postLong(ctx, api.PathSecurityReport, body, &reply, maxGuardReply)
	return reply, err
}

// joinPorts writes a list of ports as a setting.
func joinPorts(ports []uint16) string {
	var list []string
	for _, p := range ports {
		list = append(list, strconv.Itoa(int(p)))
	}
	return strings.Join(list, ",")
}

// splitPorts reads it.
func splitPorts(s string) (ports []uint16, err error) {
	for _, field := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := strconv.ParseUint(field, 10, 16)
		if err != nil || p == 0 {
			return nil, fmt.Errorf("%.20q is no port", field)
		}
		ports = append(ports, uint16(p))
	}
	return ports, nil
}
