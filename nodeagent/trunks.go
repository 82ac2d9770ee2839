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

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/trunk"
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

// newKeeper makes what looks after trunks. Its requests go through a socket of its own: they wait for nobody else's.
func newKeeper(cfg Config, report *reporter, probes *probes, log *slog.Logger) (*trunk.Keeper, func() error, error) {
	client, err := kam.Open(cfg.KamailioSocket, cfg.KamailioClient+".uac", probeTimeout)
	if err != nil {
		return nil, nil, err
	}
	able := func() bool { kamailio, _, _ := probes.status(); return kamailio.Healthy }
	keeper := trunk.New(trunk.Config{Able: able, Node: cfg.Name, Every: cfg.HeartbeatInterval, Sender: trunkSender{kam.NewUAC(client)}, Brain: trunkBrain{report}, Log: log})
	return keeper, client.Close, nil
}

// trunkSender is Kamailio as the keeper of trunks has it send.
type trunkSender struct{ uac *kam.UAC }

func (s trunkSender) NewCallID() string { return kam.NewCallID() }

func (s trunkSender) Send(ctx context.Context, r trunk.Request) (trunk.Response, error) {
	got, err := s.uac.Send(ctx, kam.Request(r))
	if errors.Is(err, kam.ErrNoAnswer) {
		err = trunk.ErrNoAnswer
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
