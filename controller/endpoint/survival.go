package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
	"github.com/sipio/sipio/brain/route"
)

// survivalPage is an api.SurvivalReply whose accounts are encoded already: their size decides how many fit.
type survivalPage struct {
	Accounts []json.RawMessage `json:"accounts,omitempty"`
	Kept     []string          `json:"kept,omitempty"`
	More     bool              `json:"more,omitempty"`
}

// survival answers POST /survival: what a node needs to go on answering for the accounts of its phones
// while no brain can be asked. Only what the node does not have yet is sent.
func (s *Server) survival(r *http.Request, key brain.APIKey) (any, error) {
	var req api.SurvivalRequest
	if err := decodeSurvival(r, &req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	page, tooLong, err := survivalOf(s.Config.Directory(), s.Version, &s.helplines, &req)
	if err != nil {
		return nil, err
	}
	for _, id := range tooLong {
		s.Log.Warn("account is too large for a node to keep: it has no survival answers", "account", id, "limit_bytes", api.MaxSurvivalAccount)
	}
	return page, nil
}

// decodeSurvival reads the question. Its body is longer than that of a decision may be.
func decodeSurvival(r *http.Request, req *api.SurvivalRequest) error {
	if err := onlyJSON(r); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, api.MaxSurvivalAsk+1))
	switch {
	case err != nil:
		return brokenBody(err)
	case len(raw) > api.MaxSurvivalAsk:
		return badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "a body has at most %d bytes here", api.MaxSurvivalAsk)
	}
	if err := decodeJSON(string(raw), req); err != nil {
		return err
	}
	if len(req.Realms) > api.MaxSurvivalRealms || len(req.Have) > api.MaxSurvivalAccounts {
		return badField(countBadTooLong, "realms", "at most %d realms and %d tags", api.MaxSurvivalRealms, api.MaxSurvivalAccounts)
	}
	return checkText("node", req.Node, maxID)
}

// survivalOf collects the accounts that own the realms, each once, up to a page; tooLong are those that no
// node can keep.
func survivalOf(dir brain.Directory, build string, help *helplines, req *api.SurvivalRequest) (page *survivalPage, tooLong []string, err error) {
	page, size := &survivalPage{}, 0
	seen := map[string]bool{}
	for _, realm := range req.Realms {
		acct := dir.ByDomain(realm)
		if acct == nil || acct.Account.Status != brain.StatusActive || seen[acct.Account.ID] {
			continue
		}
		if len(seen) == api.MaxSurvivalAccounts {
			break
		}
		seen[acct.Account.ID] = true
		tag := survivalTag(build, acct)
		if slices.Contains(req.Have, tag) {
			page.Kept = append(page.Kept, tag)
			continue
		}
		if page.More = page.More || size >= api.MaxSurvivalPage; page.More {
			continue // what is kept is still told
		}
		raw, err := survivalAccount(acct, tag, help.in(acct.Account.Country))
		if err != nil {
			return nil, nil, err
		}
		if len(raw) > api.MaxSurvivalAccount {
			tooLong = append(tooLong, acct.Account.ID)
			continue
		}
		size += len(raw)
		page.Accounts = append(page.Accounts, raw)
	}
	return page, tooLong, nil
}

// survivalTag names a state of an account, as this build would send it.
func survivalTag(build string, acct *brain.AccountConfig) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d", api.Version, build, acct.Account.ID, acct.Version))
	return hex.EncodeToString(sum[:10])
}

func survivalAccount(acct *brain.AccountConfig, tag string, help []string) (json.RawMessage, error) {
	kept, _ := route.Survival(acct, help)
	kept.Tag, kept.MaxContacts = tag, MaxContacts
	raw, err := json.Marshal(&kept)
	if err != nil {
		return nil, fmt.Errorf("encode account %s for a node: %w", acct.Account.ID, err)
	}
	return raw, nil
}

// helplines keeps the emergency numbers of countries.
type helplines struct {
	mu sync.Mutex
	of map[string][]string
}

// in lists the emergency numbers of a country.
func (h *helplines) in(country string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, known := h.of[country]
	if !known {
		if h.of == nil {
			h.of = map[string][]string{}
		}
		list = number.Emergencies(country)
		h.of[country] = list
	}
	return list
}

// survivalSeen is how far each node's reports of survival answers were taken, so that one that is delivered
// again is not counted again. It is forgotten with the process, as the counters are.
type survivalSeen struct {
	mu   sync.Mutex
	last map[string]survivalBoot // by node
}

type survivalBoot struct {
	boot string
	seq  int64
}

// fresh tells whether a report is new, and takes it. A node has one boot of such reports at a time.
func (n *survivalSeen) fresh(node, boot string, seq int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, known := n.last[node]
	if known && at.boot == boot && seq <= at.seq {
		return false
	}
	if !known && len(n.last) >= maxNodes {
		return true // counted perhaps twice rather than never
	}
	if n.last == nil {
		n.last = make(map[string]survivalBoot)
	}
	n.last[node] = survivalBoot{boot, seq}
	return true
}

// takeSurvival counts and logs what a node decided by itself, and returns the other events of the batch.
func (s *Server) takeSurvival(batch *api.EventBatch) []api.Event {
	rest := batch.Events[:0]
	for _, ev := range batch.Events {
		if ev.Type != api.EventSurvival {
			rest = append(rest, ev)
			continue
		}
		if !s.survived.fresh(batch.Node, batch.Boot, ev.Seq) {
			continue
		}
		which, outcome := countSurvivalAccepted, "accepted"
		if ev.SIPCode != 0 {
			which, outcome = countSurvivalRefused, "refused"
		}
		n := min(max(ev.Count, 1), maxSurvivalCount)
		s.counts[which].Add(int64(n))
		s.Log.Info("decided by a node without a brain", slog.String("node", batch.Node), slog.Int64("at_ms", ev.TimeMS),
			slog.String("account", ev.AccountID), slog.String("aor", ev.AOR), slog.String("from", ev.From), slog.String("to", ev.To),
			slog.String("outcome", outcome), slog.Int("sip_code", ev.SIPCode), slog.Int("count", n),
			slog.String("call_id", ev.CallID), slog.String("token", ev.Token), slog.String("source", ev.SourceIP))
	}
	return rest
}

// maxSurvivalCount bounds what one event can add to a counter.
const maxSurvivalCount = 1 << 20
