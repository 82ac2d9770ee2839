package stir

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/stir"
)

const (
	// fetchBudget is how long a call waits for a certificate. It is less than the silence after which a node agent takes
	// a brain for frozen (250 ms); the fetch goes on for the next call.
	fetchBudget = 200 * time.Millisecond
	maxWaiting  = 4       // calls that wait for certificates at once: a node asks 8 questions at once, and others go on meanwhile
	maxReplay   = 1 << 17 // tokens that are remembered against replay, about 20 MB
)

// Settings is what an operator sets; all may be empty.
type Settings struct {
	KeyFile   string // the platform's key, see ParseSigner; "" = calls of accounts without a key of their own are not signed
	X5U       string // https address of its certificate, where the file does not say it
	RootsFile string // PEM; trusted as the roots of signatures
}

// Calls signs and verifies the calls of this brain. It is safe for several goroutines.
type Calls struct {
	// Password opens a secret of an account; nil = no account has a key.
	Password func(acct *brain.AccountConfig, ref string) (string, error)
	Now      func() time.Time

	platform *file[stir.Signer]    // nil = none
	roots    *file[*x509.CertPool] // nil = nothing is verified
	fetcher  *Fetcher              // nil = nothing is verified
	keys     keys
	waiting  chan struct{}
	budget   time.Duration

	mu     sync.Mutex // guards what follows
	last   time.Time  // of the latest verification: Replay wants times that do not go back
	replay *stir.Replay
	passed passed
}

// Open reads the files of the settings, each of which is read again when it has changed. fetcher nil = certificates of
// others are not fetched.
func Open(s Settings, fetcher *Fetcher, log *slog.Logger) (*Calls, error) {
	c := &Calls{Now: time.Now, fetcher: fetcher, keys: keys{byContent: map[[sha256.Size]byte]stir.Signer{}},
		waiting: make(chan struct{}, maxWaiting), budget: fetchBudget, replay: stir.NewReplay(maxReplay), passed: newPassed(maxPassed)}
	var err error
	if s.KeyFile != "" {
		parse := func(body []byte) (stir.Signer, error) { return ParseSigner(body, s.X5U) }
		if c.platform, err = openFile(s.KeyFile, brain.GroupReads, parse, log); err != nil {
			return nil, fmt.Errorf("stir-key-file: %w", err)
		}
	}
	if s.RootsFile != "" {
		if c.roots, err = openFile(s.RootsFile, brain.EverybodyReads, stir.ParseRoots, log); err != nil {
			return nil, fmt.Errorf("stir-roots-file: %w", err)
		}
	}
	return c, nil
}

// Sign returns the value of the Identity header of a call, "" when there is no key to sign it with. from and to are
// numbers with their country code, token names the call: the origid is made of it. An account whose own key is no good
// is not signed for with the platform's, whose certificate may stand for other numbers.
func (c *Calls) Sign(acct *brain.AccountConfig, from, to string, attest stir.Attestation, token string) (string, error) {
	signer, err := c.signer(acct)
	if err != nil || signer.Key == nil {
		return "", err
	}
	orig, err := stir.ParseParty(from)
	if err != nil {
		return "", fmt.Errorf("caller: %w", err)
	}
	dest, err := stir.ParseParty(to)
	if err != nil {
		return "", fmt.Errorf("called party: %w", err)
	}
	return signer.Sign(stir.Claims{Attest: attest, Orig: orig, Dest: []stir.Party{dest}, IAT: c.Now().Unix(), OrigID: OrigID(acct.Account.ID, token)})
}

func (c *Calls) signer(acct *brain.AccountConfig) (stir.Signer, error) {
	a := &acct.Account
	switch {
	case a.StirSecretRef != "" && (c.Password == nil || a.StirX5U == ""):
		return stir.Signer{}, errors.New("the account has a key, and no stir_x5u or nobody who opens it")
	case a.StirSecretRef != "":
		text, err := c.Password(acct, a.StirSecretRef)
		if err != nil {
			return stir.Signer{}, fmt.Errorf("key of the account: %w", err)
		}
		return c.keys.parse(text, a.StirX5U)
	case c.platform != nil:
		return c.platform.get(), nil
	}
	return stir.Signer{}, nil
}

// OrigID is the origid of a call: a UUID of version 8 (RFC 9562) made of account and token. Whoever is asked where a call
// came from finds it by doing the same with the calls in question.
func OrigID(accountID, token string) string {
	sum := sha256.Sum256([]byte(accountID + "/" + token))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Verify judges the Identity header of a call; from and to are numbers with their country code. It takes no longer than
// fetchBudget: a certificate that is not there by then is x5u_failed for this call. What has passed stays passed for later questions
// of the same call, so that they do not find the token stale. The first question of a call finds it stale: whoever has listened
// may send the whole request again.
func (c *Calls) Verify(ctx context.Context, identity, from, to, callID string, later bool) stir.Result {
	id, refusal := stir.ParseIdentity(identity)
	switch {
	case refusal != nil:
		return refusal.Result()
	case c.fetcher == nil || c.roots == nil:
		return (&stir.Refusal{Reason: stir.X5URefused, Text: "certificates are not fetched: stir-hosts or stir-roots-file is not set"}).Result()
	}
	name := nameOf(identity, from, to, callID)
	if later {
		if result, ok := c.known(name); ok {
			return result
		}
	}
	chain, refusal := c.chain(ctx, id.X5U)
	if refusal != nil {
		return refusal.Result()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	judge := stir.Verifier{Roots: c.roots.get(), Replay: c.replay}
	result := judge.Verify(id, chain, stir.Call{From: from, To: to, At: c.time(), ID: callID})
	if result.Verstat == stir.Passed {
		c.passed.add(name, result, c.last)
	}
	return result
}

func (c *Calls) known(name [sha256.Size]byte) (stir.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed.get(name, c.time())
}

// time is now, or the latest time that was now when the clock has been set back. The lock is held.
func (c *Calls) time() time.Time {
	if now := c.Now(); now.After(c.last) {
		c.last = now
	}
	return c.last
}

// chain waits for a certificate within the budget. While maxWaiting others wait, it is taken when it is there already.
func (c *Calls) chain(ctx context.Context, x5u string) ([]*x509.Certificate, *stir.Refusal) {
	budget := c.budget
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	default:
		budget = 0
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	return c.fetcher.Fetch(ctx, x5u)
}

// nameOf names a call with its token.
func nameOf(parts ...string) (name [sha256.Size]byte) {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p)) // so that no two calls run together alike
		_, _ = io.WriteString(h, p)
	}
	h.Sum(name[:0])
	return name
}
