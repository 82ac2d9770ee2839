package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/trunk"
)

// trunks keeps the file from which Kamailio knows the addresses of trunks (module permissions, address_file, group 1) and
// the networks that its guard leaves alone (group 2). While no brain answers the file stays as it is.
type trunks struct {
	path     string
	kamailio *kam.Client
	up       func() bool // Kamailio, as the last probe found it; nil = it is
	log      *slog.Logger

	mu        sync.Mutex
	sources   []string // of trunks; nil: no brain has said yet
	protected []string
	kept      string    // content of the file, as Kamailio has it
	read      time.Time // when Kamailio was last told to read it

	complained slog.Level // of the last tries, so that one fault is logged once
}

// keep takes the addresses of trunks. nil changes nothing; what Kamailio did not take before it gets now.
func (t *trunks) keep(ctx context.Context, sources []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sources != nil {
		t.sources = slices.Clone(sources)
	}
	_ = t.bring(ctx) // logged
}

// protect takes the networks of the guard.
func (t *trunks) protect(ctx context.Context, nets []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.protected = slices.Clone(nets)
	return t.bring(ctx)
}

// bring writes the file when it has changed and has Kamailio read it.
func (t *trunks) bring(ctx context.Context) error {
	if t.path == "" || t.sources == nil {
		return nil
	}
	level := slog.LevelError
	content, err := addressFile(t.sources, t.protected)
	if err == nil && content == t.kept {
		return nil
	}
	if err == nil {
		err = t.write(content)
	}
	if err == nil {
		t.pause(ctx)
		err = t.kamailio.Call(ctx, "permissions.addressReload", nil, nil)
		t.read = time.Now()
		if t.up != nil && !t.up() {
			level = slog.LevelWarn // it reads the file when it starts
		}
	}
	if err != nil && level > t.complained {
		t.complained = level
		t.log.Log(ctx, level, "Kamailio does not know the addresses of the trunks", "file", t.path, "error", err)
	}
	if err == nil {
		t.kept, t.complained = content, slog.LevelInfo
		t.log.Info("Kamailio knows the addresses of the trunks", "count", len(t.sources), "protected", len(t.protected))
	}
	return err
}

// reloadPause is how long Kamailio refuses to read the file again (modparam reload_delta, whole seconds).
const reloadPause = 1100 * time.Millisecond

// pause waits until it does not.
func (t *trunks) pause(ctx context.Context) {
	wait := time.NewTimer(time.Until(t.read.Add(reloadPause)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// write replaces the file in one step.
func (t *trunks) write(content string) error {
	if err := os.WriteFile(t.path+".new", []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(t.path+".new", t.path)
}

// maxSubnets is how many networks of more than one address Kamailio has room for (kamailio-cfg/kamailio.cfg, max_subnets): it leaves
// out what is beyond, in silence.
const maxSubnets = 32768

// addressFile is the content of the file: a line for each network, its group first.
func addressFile(sources, protected []string) (string, error) {
	var b strings.Builder
	subnets := 0
	b.WriteString("# Written by sipio-node: 1 = addresses of trunks, 2 = networks that the guard leaves alone.\n")
	for group, nets := range [][]string{sources, protected} {
		for _, s := range nets {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return "", fmt.Errorf("address of a trunk: %w", err)
			}
			fmt.Fprintf(&b, "%d %s", group+1, p.Addr())
			if !p.IsSingleIP() {
				fmt.Fprintf(&b, " %d", p.Bits())
				subnets++
			}
			b.WriteByte('\n')
		}
	}
	if subnets > maxSubnets {
		return "", fmt.Errorf("%d networks of more than one address: Kamailio has room for %d, and keeps those that it has", subnets, maxSubnets)
	}
	return b.String(), nil
}

// newKeeper makes what looks after trunks.
func newKeeper(cfg Config, uac *kam.UAC, report *reporter, probes *probes, log *slog.Logger) *trunk.Keeper {
	return trunk.New(trunk.Config{Able: probes.kamailioUp, Node: cfg.Name, Every: cfg.HeartbeatInterval, Sender: trunkSender{uac}, Brain: trunkBrain{report}, Log: log})
}

// openUAC makes what sends requests through Kamailio, on a socket of its own: they wait for nobody else's.
func openUAC(cfg Config) (*kam.UAC, func() error, error) {
	client, err := kam.Open(cfg.KamailioSocket, cfg.KamailioClient+".uac", probeTimeout)
	if err != nil {
		return nil, nil, err
	}
	return kam.NewUAC(client), client.Close, nil
}

// trunkSender is Kamailio as the keeper of trunks has it send.
type trunkSender struct{ uac *kam.UAC }

func (s trunkSender) NewCallID() string { return kam.NewCallID() }

func (s trunkSender) Send(ctx context.Context, r trunk.Request) (trunk.Response, error) {
	got, err := s.uac.Send(ctx, kam.Request(r))
	switch {
	case errors.Is(err, kam.ErrNoAnswer):
		err = trunk.ErrNoAnswer
	case errors.Is(err, kam.ErrUnsent):
		err = fmt.Errorf("%w: %w", trunk.ErrUnsent, err)
	}
	answer := trunk.Response{Code: got.Code, Reason: got.Reason}
	for _, f := range got.Fields {
		answer.Fields = append(answer.Fields, trunk.HeaderField(f))
	}
	return answer, err
}

// trunkBrain is the brain as the keeper of trunks asks it.
type trunkBrain struct{ report *reporter }

func (b trunkBrain) Trunks(ctx context.Context, found api.NodeTrunks) (reply api.NodeTrunksReply, err error) {
	err = b.post(ctx, api.PathNodeTrunks, found, &reply)
	return reply, err
}

func (b trunkBrain) Lease(ctx context.Context, asks api.TrunkLeaseRequest) (reply api.TrunkLeaseReply, err error) {
	err = b.post(ctx, api.PathTrunkLease, asks, &reply)
	return reply, err
}

func (b trunkBrain) Answer(ctx context.Context, req api.TrunkAnswerRequest) (reply api.TrunkAnswerReply, err error) {
	err = b.post(ctx, api.PathTrunkAnswer, req, &reply)
	return reply, err
}

func (b trunkBrain) post(ctx context.Context, path string, question, reply any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return b.report.postLong(ctx, path, body, reply, api.MaxNodeBody)
}
