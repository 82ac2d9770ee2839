package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Kamailio's tables (kamailio-cfg/route/guard.cfg).
const (
	tableBan        = "ipban"    // address → tier
	tableGrace      = "allow"    // address → 1
	tableKnown      = "known"    // address → the second in which this process was told last
	tableScore      = "score"    // address::kind → how often
	tableHour       = "hour"     // address → wrong passwords of an hour
	tableSignatures = "uasig"    // 0, 1, … → text
	tablePolicy     = "guardcfg" // name → number
	keyAgent        = "agent"    // of tablePolicy: there since this life of Kamailio is known here
)

// tableKey is how Kamailio writes what is banned: all groups of a /64, without leading zeros.
func tableKey(addr netip.Prefix) string {
	if addr.Addr().Is4() {
		return addr.Addr().String()
	}
	b := addr.Addr().As16()
	group := func(i int) uint16 { return uint16(b[2*i])<<8 | uint16(b[2*i+1]) }
	return fmt.Sprintf("%x:%x:%x:%x::/64", group(0), group(1), group(2), group(3))
}

// apply takes a policy: from now on it holds, here, in the kernel and in Kamailio.
func (g *Guard) apply(p *api.GuardPolicy) {
	g.acting.Lock()
	defer g.acting.Unlock()
	g.setPolicy(p)
	g.writePolicy(p)
	g.hurry()
	g.cfg.Log.Info("policy of the guard", "version", p.Version, "protected", len(p.Protected), "signatures", len(p.Signatures))
}

// setPolicy has a policy hold here and in the kernel.
func (g *Guard) setPolicy(p *api.GuardPolicy) {
	var nets []netip.Prefix
	for _, s := range p.Protected {
		if net, err := netip.ParsePrefix(s); err == nil {
			nets = append(nets, net)
		} else {
			g.cfg.Log.Error("a protected network of the policy is none", "net", s, "error", err)
		}
	}
	g.mu.Lock()
	g.policy, g.nets, g.shielded, g.netsDue, g.policyDue, g.shieldDue = p, nets, newNetworks(nets), true, true, true
	g.mu.Unlock()
	g.repair(time.Now())
}

// putPolicy writes a policy into Kamailio's tables. Signatures are replaced one by one, so that there are some at each moment;
// had is how many there were, 0 = not known.
func (g *Guard) putPolicy(ctx context.Context, p *api.GuardPolicy, had int) error {
	for _, number := range []struct {
		name  string
		value int
	}{
		{"window", p.ScoreWindowSec}, {"authfail", p.AuthFailMax}, {"challenge", p.ChallengeMax}, {"unknown", p.UnknownMax},
		{"source", p.SourceMax}, {"aorfail", p.AORFailMax}, {"spray", p.SprayMax}, {"hourfail", p.AuthFailHourMax}, {"ua_term", p.UATermSec}, {"pike_term", p.PikeTermSec},
	} {
		if number.value == 0 { // of an older brain
			continue
		}
		if err := g.cfg.Kamailio.TableSetInt(ctx, tablePolicy, number.name, number.value); err != nil {
			return err
		}
	}
	for i, mark := range p.Signatures {
		if err := g.cfg.Kamailio.TableSet(ctx, tableSignatures, strconv.Itoa(i), mark, 0); err != nil {
			return err
		}
	}
	if had == 0 {
		had = api.MaxGuardSignatures
	}
	for i := len(p.Signatures); i < had; i++ {
		if err := g.cfg.Kamailio.TableDelete(ctx, tableSignatures, strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// termOf is the first term of a tier.
func (g *Guard) termOf(tier string) time.Duration {
	if tier == api.TierNft {
		return g.floodTerm()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.policy != nil {
		if sec := map[string]int{api.TierUA: g.policy.UATermSec, api.TierPike: g.policy.PikeTermSec, api.TierScore: g.policy.ScoreTermSec}[tier]; sec > 0 {
			return time.Duration(sec) * time.Second
		}
	}
	return 5 * time.Minute
}

// maxPolicyFile bounds the file of the policy, in bytes.
const maxPolicyFile = 4 << 20

// readPolicy takes the last policy from its file.
func (g *Guard) readPolicy() {
	if g.cfg.File == "" {
		return
	}
	info, err := os.Stat(g.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var p api.GuardPolicy
	if err == nil && info.Size() > maxPolicyFile {
		err = fmt.Errorf("%d bytes long", info.Size())
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(g.cfg.File)
	}
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		g.cfg.Log.Error("the policy of the guard cannot be read: it comes from the brain", "file", g.cfg.File, "error", err)
		return
	}
	g.setPolicy(&p)
}

// writePolicy replaces that file in one step.
func (g *Guard) writePolicy(p *api.GuardPolicy) {
	if g.cfg.File == "" {
		return
	}
	raw, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(g.cfg.File+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(g.cfg.File+".new", g.cfg.File)
	}
	if err != nil {
		g.cfg.Log.Error("the policy of the guard is not kept for a start without a brain", "file", g.cfg.File, "error", err)
	}
}
